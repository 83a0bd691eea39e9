"""Masks are saved whole or not at all, interpolated, undone, and found again."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesmith.annotate.interpolation import Mask
from facesmith.annotate.masks import MaskStore
from facesmith.errors import DiskFullError, UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.methods.occluder.labels import PaintedMasks

Covered = Callable[[MaskStore, int, int], Mask]


def test_mask_store_interpolate_moves_occluder(store: MaskStore, covered: Covered) -> None:
    store.paint(0, covered(store, 0, 200))
    store.paint(4, covered(store, 4, 300))
    progress: list[tuple[int, int]] = []
    assert store.interpolate(2, lambda done, of: progress.append((done, of))) == [1, 2, 3]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert [store.state(i) for i in range(6)] == ["painted", *["interpolated"] * 3, "painted", "hull"]
    hidden = [store.hull(i) & ~store.mask(i) for i in range(5)]
    assert np.all(np.diff([np.argwhere(one)[:, 1].mean() for one in hidden]) > 10)
    sizes = [int(one.sum()) for one in hidden]
    assert min(sizes) > 0.7 * max(sizes)  # edges travel; they do not fade


def test_mask_store_paint_interpolated_frame_becomes_keyframe(store: MaskStore, covered: Covered) -> None:
    store.paint(0, covered(store, 0, 200))
    store.paint(4, covered(store, 4, 300))
    store.interpolate(2)
    corrected = covered(store, 2, 150)
    store.paint(2, corrected)
    assert store.interpolate(2) == [1, 3]
    assert np.array_equal(store.mask(2), corrected)


def test_mask_store_interpolate_without_keyframes_is_refused(store: MaskStore, covered: Covered) -> None:
    store.paint(0, covered(store, 0, 200))
    with pytest.raises(UserError, match="paint one before and one after"):
        store.interpolate(2)


def test_mask_store_undo_redo_every_change(store: MaskStore, covered: Covered) -> None:
    first, last = covered(store, 0, 200), covered(store, 4, 300)
    store.paint(0, first)
    store.paint(4, last)
    store.interpolate(2)
    store.reset(4, "hull")
    assert store.state(4) == "hull"
    assert store.undo() == 4
    assert np.array_equal(store.mask(4), last)
    assert store.undo() == 1  # the frames between, in one step
    assert [store.state(i) for i in range(5)] == ["painted", "hull", "hull", "hull", "painted"]
    assert not store.path(2).exists()
    assert store.redo() == 1
    assert store.state(2) == "interpolated"
    assert [store.undo(), store.undo(), store.undo(), store.undo()] == [1, 4, 0, None]
    assert list(store.folder.glob("*.png")) == []
    store.redo()
    store.paint(1, first)
    assert store.redo() is None  # what was undone is gone once something else is painted


def test_mask_store_reopened_continues(faces: FaceSet, store: MaskStore, covered: Covered) -> None:
    mask = covered(store, 3, 250)
    store.paint(3, mask)
    store.paint(5, covered(store, 5, 250))
    store.interpolate(4)
    store.go_to(3)
    store.close()
    (store.folder / ".0123_0.89abcdef.tmp.png").write_bytes(b"half a mask of a killed process")
    with MaskStore(faces, store.folder, 0.35) as again:
        assert again.current == 3
        assert [again.state(i) for i in (3, 4, 5, 6)] == ["painted", "interpolated", "painted", "hull"]
        assert np.array_equal(again.mask(3), mask)
        assert again.next_unsaved(3) == 6
        assert not list(again.folder.glob(".*.tmp.png"))


def test_mask_store_files_are_read_by_training(faces: FaceSet, store: MaskStore, covered: Covered) -> None:
    mask = covered(store, 2, 220)
    store.paint(2, mask)
    read = PaintedMasks(store.folder, faces).get(2)
    assert read is not None
    assert np.array_equal(read, mask)


def test_mask_store_locked_folder_is_refused(faces: FaceSet, store: MaskStore) -> None:
    with pytest.raises(UserError, match="is in use by another session"):
        MaskStore(faces, store.folder, 0.35)
    store.close()
    MaskStore(faces, store.folder, 0.35).close()


def test_mask_store_bad_masks_are_refused_and_unlock(faces: FaceSet, tmp_path: Path) -> None:
    name = Path(faces.crop_name(0)).stem
    bad = {
        "has 256x256 px": (name, np.zeros((256, 256), np.uint8)),
        "neither black nor white": (name, np.full((512, 512), 90, np.uint8)),
        "belongs to no face": ("stranger", np.zeros((512, 512), np.uint8)),
    }
    for number, (said, (stem, mask)) in enumerate(bad.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        Image.fromarray(mask).save(folder / f"{stem}.png")
        for _ in range(2):  # the second time says the same: the first let go of the folder
            with pytest.raises(UserError, match=said):
                MaskStore(faces, folder, 0.35)


def test_mask_store_foreign_masks_count_as_painted(faces: FaceSet, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    half = np.zeros((512, 512), np.uint8)
    half[:, :256] = 255
    Image.fromarray(half).save(folder / f"{Path(faces.crop_name(1)).stem}.png")
    with MaskStore(faces, folder, 0.35) as store:
        assert store.state(1) == "painted"
        assert np.array_equal(store.mask(1), half)


def test_mask_store_predictor_is_starting_point(faces: FaceSet, tmp_path: Path) -> None:
    asked: list[int] = []
    seen = np.zeros((512, 512), np.uint8)
    seen[200:300, 200:300] = 255

    def predict(row: int) -> Mask:
        asked.append(row)
        return seen

    with MaskStore(faces, tmp_path / "masks", 0.35, predict) as store:
        assert store.state(2) == "predicted"
        assert np.array_equal(store.mask(2), seen)
        assert np.array_equal(store.mask(2), seen)
        assert asked == [2]  # nobody waits for the same face twice
        assert not store.is_saved(2)  # what nobody looked at trains nobody
        store.reset(2, "hull")
        assert np.array_equal(store.mask(2), store.hull(2))
        store.reset(2, "predicted")
        assert np.array_equal(store.mask(2), seen)


def test_mask_store_write_error_keeps_last_mask(
    store: MaskStore, covered: Covered, no_file_above: Callable[[int], AbstractContextManager[None]]
) -> None:
    before = covered(store, 0, 200)
    store.paint(0, before)
    with no_file_above(100), pytest.raises(UserError, match=r"cannot be written .*the last version is intact"):
        store.paint(0, covered(store, 0, 300))
    assert np.array_equal(store.mask(0), before)
    assert np.array_equal(np.asarray(Image.open(store.path(0)).convert("L")), before)
    assert not list(store.folder.glob(".*.tmp.png"))
    with no_file_above(10), pytest.raises(UserError, match="cannot be written"):
        store.go_to(5)
    assert store.current == 0
    assert store.undo() == 0  # of the first stroke: the second never was
    assert store.undo() is None


def test_mask_store_disk_full_loses_nothing(faces: FaceSet, tmp_path: Path, covered: Covered) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({mounted.stderr.strip()})")
    try:
        with MaskStore(faces, small, 0.35) as store:
            before = covered(store, 0, 200)
            store.paint(0, before)
            with (small / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                while ballast.write(b"0" * 4096):
                    pass
            with pytest.raises(DiskFullError, match="the disk is full"):
                store.paint(0, covered(store, 0, 300))
            assert np.array_equal(store.mask(0), before)
            assert np.array_equal(np.asarray(Image.open(store.path(0)).convert("L")), before)
            (small / "ballast").unlink()
            after = covered(store, 0, 300)
            store.paint(0, after)
            assert np.array_equal(np.asarray(Image.open(store.path(0)).convert("L")), after)
    finally:
        subprocess.run(["umount", str(small)], check=True)
