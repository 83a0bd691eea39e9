"""Masks go to other programs and come back as they were, from Python and from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesmith.annotate import import_export
from facesmith.annotate.app import annotate
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import Desk, Mask
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet

Covered = Callable[[Desk, int, int], Mask]


@pytest.mark.parametrize(("form", "place"), [("coco", "masks.json"), ("labelme", "folder"), ("cvat", "folder")])
def test_import_masks_round_trip_is_exact(
    faces: FaceSet, desk: Desk, covered: Covered, tmp_path: Path, form: import_export.Format, place: str
) -> None:
    ring = covered(desk, 2, 220)
    cv2.circle(ring, (220, 300), 15, 255, -1)  # an island in a hole
    wanted = {0: covered(desk, 0, 260), 2: ring}
    for row, mask in wanted.items():
        desk.paint(row, mask)
    assert import_export.write(desk, tmp_path / "out" / place, form) == 2
    with Desk(faces, tmp_path / "others", 0.35) as other:
        assert import_export.take(other, tmp_path / "out" / place, form) == 2
        for row, mask in wanted.items():
            assert np.array_equal(other.mask(row), mask)
        other.undo()
        assert other.counts()["painted"] == 0  # taken over in one step


def test_annotate_import_and_export_from_command_line(
    settings: Callable[..., AnnotateConfig],
    desk: Desk,
    covered: Covered,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk.paint(3, covered(desk, 3, 250))
    desk.close()
    file = tmp_path / "masks.json"
    annotate(settings(f"masks={desk.folder}", f"export_to={file}", "format=coco"))
    assert f"1 masks are written to {file}" in capsys.readouterr().out
    annotate(settings(f"masks={tmp_path / 'others'}", f"import_from={file}", "format=coco"))
    assert "1 masks of" in capsys.readouterr().out
    (copy,) = (tmp_path / "others").glob("*.png")
    assert copy.name == desk.path(3).name


def test_import_masks_bad_file_saves_nothing(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "masks.json"
    broken.write_text('{"categories": [{"id": 1, "name": "cat"}], "images": []}')
    with pytest.raises(UserError, match="no category is called face"):
        import_export.take(desk, broken, "coco")
    stranger = {"id": 1, "file_name": "nobody.jpg", "width": 512, "height": 512}
    shape = {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    told = {"categories": [{"id": 1, "name": "face"}], "images": [stranger], "annotations": [shape]}
    broken.write_text(json.dumps(told))
    with pytest.raises(UserError, match="nobody is no face of"):
        import_export.take(desk, broken, "coco")
    broken.write_text(json.dumps({**told, "images": [{**stranger, "width": 640}]}))
    with pytest.raises(UserError, match="640x512 px, the crops 512x512"):
        import_export.take(desk, broken, "coco")
    with pytest.raises(UserError, match="nothing was painted yet"):
        import_export.write(desk, tmp_path / "out.json", "coco")
    assert desk.counts()["painted"] == 0
