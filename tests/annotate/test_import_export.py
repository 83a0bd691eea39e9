"""Masks go to other programs and come back exact."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesmith.annotate import import_export
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.interpolation import Mask
from facesmith.annotate.masks import MaskStore
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.studio.painting import annotate

Covered = Callable[[MaskStore, int, int], Mask]


@pytest.mark.parametrize(("form", "place"), [("coco", "masks.json"), ("labelme", "folder"), ("cvat", "folder")])
def test_import_masks_round_trip_is_exact(
    faces: FaceSet, store: MaskStore, covered: Covered, tmp_path: Path, form: import_export.Format, place: str
) -> None:
    ring = covered(store, 2, 220)
    cv2.circle(ring, (220, 300), 15, 255, -1)  # an island in a hole
    wanted = {0: covered(store, 0, 260), 2: ring}
    for row, mask in wanted.items():
        store.paint(row, mask)
    assert import_export.export_masks(store, tmp_path / "out" / place, form) == 2
    with MaskStore(faces, tmp_path / "others", 0.35) as other:
        assert import_export.import_masks(other, tmp_path / "out" / place, form) == 2
        for row, mask in wanted.items():
            assert np.array_equal(other.mask(row), mask)
        other.undo()
        assert other.count_states()["painted"] == 0  # taken over in one step


def test_annotate_import_and_export_from_command_line(
    settings: Callable[..., AnnotateConfig],
    store: MaskStore,
    covered: Covered,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store.paint(3, covered(store, 3, 250))
    store.close()
    file = tmp_path / "masks.json"
    annotate(settings(f"masks={store.folder}", f"export_to={file}", "format=coco"))
    assert f"Exported 1 masks to {file}" in capsys.readouterr().out
    annotate(settings(f"masks={tmp_path / 'others'}", f"import_from={file}", "format=coco"))
    assert "Imported 1 masks from" in capsys.readouterr().out
    (copy,) = (tmp_path / "others").glob("*.png")
    assert copy.name == store.path(3).name


def test_import_masks_bad_file_saves_nothing(store: MaskStore, tmp_path: Path) -> None:
    broken = tmp_path / "masks.json"
    broken.write_text('{"categories": [{"id": 1, "name": "cat"}], "images": []}')
    with pytest.raises(UserError, match="no category is called face"):
        import_export.import_masks(store, broken, "coco")
    stranger = {"id": 1, "file_name": "nobody.jpg", "width": 512, "height": 512}
    shape = {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    labels = {"categories": [{"id": 1, "name": "face"}], "images": [stranger], "annotations": [shape]}
    broken.write_text(json.dumps(labels))
    with pytest.raises(UserError, match="nobody is no face of"):
        import_export.import_masks(store, broken, "coco")
    broken.write_text(json.dumps({**labels, "images": [{**stranger, "width": 640}]}))
    with pytest.raises(UserError, match="640x512 px, the crops 512x512"):
        import_export.import_masks(store, broken, "coco")
    with pytest.raises(UserError, match="nothing was painted yet"):
        import_export.export_masks(store, tmp_path / "out.json", "coco")
    assert store.count_states()["painted"] == 0
