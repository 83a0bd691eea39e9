"""Painted frames on a desk: saved whole, filled in between, and exchanged with other programs."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesmith.annotate import exchange
from facesmith.annotate.desk import Desk
from facesmith.errors import UserError
from facesmith.occluder.data import OccluderDataModule

FOREHEAD = 0.35


@pytest.fixture
def desk(data: OccluderDataModule, tmp_path: Path) -> Iterator[Desk]:
    with Desk(data.faces, tmp_path / "masks", FOREHEAD) as opened:
        yield opened


def covered(desk: Desk, row: int, x: int) -> np.ndarray:
    """The outline with a disc in front of it."""
    mask = desk.mask(row).copy()
    cv2.circle(mask, (x, 300), 50, 0, -1)
    return mask


def middle_of_cover(desk: Desk, row: int) -> float:
    return float(np.argwhere(desk.outline(row) & ~desk.mask(row))[:, 1].mean())


def test_what_covers_a_face_travels_between_painted_frames(desk: Desk) -> None:
    desk.save(0, covered(desk, 0, 200))
    desk.save(4, covered(desk, 4, 300))
    assert desk.interpolate(2) == [1, 2, 3]
    assert [desk.state(i) for i in range(5)] == ["painted", *["interpolated"] * 3, "painted"]
    places = [middle_of_cover(desk, i) for i in range(5)]
    assert np.all(np.diff(places) > 10)
    sizes = [int((desk.outline(i) & ~desk.mask(i)).sum()) for i in range(5)]
    assert min(sizes) > 0.7 * max(sizes)  # edges travel; they do not fade


def test_nothing_is_filled_without_a_painted_frame_on_both_sides(desk: Desk) -> None:
    desk.save(0, covered(desk, 0, 200))
    with pytest.raises(UserError, match="paint one before and one after"):
        desk.interpolate(2)


def test_one_goes_on_where_one_left_off(data: OccluderDataModule, desk: Desk) -> None:
    mask = covered(desk, 3, 250)
    desk.save(3, mask)
    desk.go(3)
    desk.close()
    with Desk(data.faces, desk.folder, FOREHEAD) as again:
        assert again.at == 3
        assert again.state(3) == "painted"
        assert np.array_equal(again.mask(3), mask)
        again.forget(3)
        assert again.state(3) == "outline"


def test_a_second_painter_in_the_folder_is_told(data: OccluderDataModule, desk: Desk) -> None:
    with pytest.raises(UserError, match="somebody is painting here already"):
        Desk(data.faces, desk.folder, FOREHEAD)


@pytest.mark.parametrize(("form", "place"), [("coco", "masks.json"), ("labelme", "folder"), ("cvat", "folder")])
def test_masks_come_back_from_other_programs_as_they_were(
    data: OccluderDataModule, desk: Desk, tmp_path: Path, form: exchange.Format, place: str
) -> None:
    ring = covered(desk, 2, 220)
    cv2.circle(ring, (220, 300), 15, 255, -1)  # an island in a hole
    wanted = {0: covered(desk, 0, 260), 2: ring}
    for row, mask in wanted.items():
        desk.save(row, mask)
    assert exchange.write(desk, tmp_path / "out" / place, form) == 2
    with Desk(data.faces, tmp_path / "others", FOREHEAD) as other:
        assert exchange.take(other, tmp_path / "out" / place, form) == 2
        for row, mask in wanted.items():
            assert np.array_equal(other.mask(row), mask)


def test_what_other_programs_cannot_mean_is_told_and_nothing_is_saved(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "masks.json"
    broken.write_text('{"categories": [{"id": 1, "name": "cat"}], "images": []}')
    with pytest.raises(UserError, match="no category is called face"):
        exchange.take(desk, broken, "coco")
    assert desk.counts()["painted"] == 0
