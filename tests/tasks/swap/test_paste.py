import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.geometry.alignment import warp_face

from .pasting import paste

SIZE = 128


def matrix(side: float, left: float = 140.0, top: float = 40.0, degrees: float = 0.0) -> np.ndarray:
    """Frame to crop, for a face that is `side` px wide in the frame."""
    rotation = cv2.getRotationMatrix2D((0, 0), degrees, SIZE / side)
    rotation[:, 2] = -rotation[:, :2] @ (left, top)
    return rotation


@pytest.mark.parametrize("side", [40.0, 128.0, 300.0])
@pytest.mark.parametrize("degrees", [0.0, 25.0])
def test_paste_back_unchanged_crop_keeps_frame(side, degrees):
    frame = astronaut()
    there = matrix(side, degrees=degrees)
    crop = warp_face(frame, there, SIZE)
    pasted = paste(frame, crop, np.ones((SIZE, SIZE), np.float32), there)
    difference = np.abs(pasted.astype(float) - frame)
    # Only what 128 px cannot hold is lost where the face is larger than the crop.
    assert difference.mean() < (2.5 if side > SIZE else 0.3)
    shifted = np.abs(pasted[:, 1:].astype(float) - frame[:, :-1]).mean()
    assert difference.mean() < 0.25 * shifted


def test_paste_back_outside_mask_is_bit_equal():
    frame = astronaut()
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[40:90, 40:90] = 1
    there = matrix(200.0)
    pasted = paste(frame, np.zeros((SIZE, SIZE, 3), np.uint8), mask, there)
    where = warp_face((mask * 255).astype(np.uint8), np.eye(2, 3), SIZE) > 0
    touched = (pasted != frame).any(-1)
    rows, columns = np.nonzero(touched)
    assert where.any()
    assert rows.min() > 40 + 38 / SIZE * 200
    assert rows.max() < 40 + 92 / SIZE * 200
    assert columns.min() > 140 + 38 / SIZE * 200
    assert (pasted[150, 240] == 0).all()


def test_paste_back_hides_crop_edge():
    """A full mask over a flat frame: no step along the way in is larger than the feather's own slope."""
    frame = np.full((400, 400, 3), 100, np.uint8)
    pasted = paste(
        frame,
        np.full((SIZE, SIZE, 3), 200, np.uint8),
        np.ones((SIZE, SIZE), np.float32),
        matrix(256.0, 72, 72),
    )
    line = pasted[200, :, 0].astype(int)
    assert line[200] == 200
    assert line[60] == 100
    assert np.abs(np.diff(line)).max() < 14


def test_paste_back_small_face_is_averaged():
    """Stripes of 1 px, shrunk to a third: the mean of three is off by a sixth, a sample by half."""
    stripes = np.zeros((SIZE, SIZE, 3), np.uint8)
    stripes[:, ::2] = 255
    frame = np.full((200, 200, 3), 128, np.uint8)
    pasted = paste(frame, stripes, np.ones((SIZE, SIZE), np.float32), matrix(SIZE / 3, 80, 80))
    assert np.abs(pasted.astype(int) - 128).max() < 50


@pytest.mark.parametrize(("left", "top"), [(-60.0, -60.0), (480.0, 480.0), (5000.0, 0.0)])
def test_paste_back_face_cut_by_border(left, top):
    frame = astronaut()
    there = matrix(128.0, left, top)
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    pasted = paste(frame, crop, np.ones((SIZE, SIZE), np.float32), there)
    assert pasted.shape == frame.shape
    assert (pasted != frame).any() == (left < 512)


def test_paste_back_registration_is_subpixel_exact():
    """A soft dot comes back where it was."""
    y, x = np.mgrid[:300, :300]
    dot = np.exp(-((x - 161.3) ** 2 + (y - 140.7) ** 2) / 50)
    frame = np.repeat((dot * 255).astype(np.uint8)[..., None], 3, -1)
    for side in (64.0, 100.0, 190.0):
        there = matrix(side, 161.3 - side / 2, 140.7 - side / 2, 10)
        there[:, 2] = SIZE / 2 - there[:, :2] @ (161.3, 140.7)
        pasted = paste(np.zeros_like(frame), warp_face(frame, there, SIZE), np.ones((SIZE, SIZE), np.float32), there)
        weight = pasted[..., 0].astype(float)
        assert (weight * x).sum() / weight.sum() == pytest.approx(161.3, abs=0.1)
        assert (weight * y).sum() / weight.sum() == pytest.approx(140.7, abs=0.1)
