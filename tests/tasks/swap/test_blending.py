import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.tasks.swap.blending import blend
from facesmith.tasks.swap.paste import unmix

from .pasting import paste

SIDE = 160
BELOW = astronaut()[20 : 20 + SIDE, 140 : 140 + SIDE].astype(np.float32)


def oval(side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (side // 4, side // 3), 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(mask, (0, 0), 3) * (mask + cv2.dilate(mask, np.ones((15, 15))) > 0)


@pytest.mark.parametrize("how", ["linear", "poisson", "multiband"])
def test_blend_picture_over_itself_stays(how):
    assert np.abs(blend(BELOW, BELOW, oval(), how) - BELOW).max() < 0.01


@pytest.mark.parametrize("how", ["linear", "poisson", "multiband"])
def test_blend_outside_mask_stays(how):
    alpha = oval()
    result = blend(BELOW, np.roll(BELOW, 30, 0), alpha, how)
    np.testing.assert_array_equal(result[alpha == 0], BELOW[alpha == 0])


def test_blend_linear_is_weighted_mean():
    face, alpha = np.full_like(BELOW, 200), oval()
    np.testing.assert_allclose(
        blend(BELOW, face, alpha, "linear"), BELOW * (1 - alpha[..., None]) + 200 * alpha[..., None], atol=1e-3
    )


def test_blend_poisson_keeps_detail_and_takes_light():
    """The same picture, darker and bluer, comes back in the colours around it."""
    tinted = BELOW * 0.8 + (-20, 0, 15)
    alpha = oval()
    inside = alpha > 0.99
    linear, poisson = (np.abs(blend(BELOW, tinted, alpha, how) - BELOW)[inside].mean() for how in ("linear", "poisson"))
    assert linear > 20
    assert poisson < 0.35 * linear


def test_blend_poisson_ignores_hair_at_seam():
    """A black band along a fifth of the seam must not darken what lies beside it."""
    below = np.full_like(BELOW, 180)
    below[: SIDE // 4] = 20
    face = np.full_like(BELOW, 170)
    result = blend(below, face, oval(), "poisson")
    assert result[SIDE // 2, SIDE // 2, 0] == pytest.approx(180, abs=4)
    assert result[SIDE // 4 + 12, SIDE // 2, 0] > 150


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (7, 160)])
@pytest.mark.parametrize("how", ["linear", "poisson", "multiband"])
def test_blend_slivers_stay_finite(how, shape):
    """What a frame's border leaves of a face may be a row of pixels."""
    below, face = np.zeros((*shape, 3), np.float32), np.full((*shape, 3), 100, np.float32)
    for alpha in (np.zeros(shape, np.float32), np.ones(shape, np.float32)):
        result = blend(below, face, alpha, how)
        assert result.shape == below.shape
        assert np.isfinite(result).all()


def test_blend_multiband_spreads_light_farther_than_linear():
    face, alpha = np.full_like(BELOW, 220), np.zeros((SIDE, SIDE), np.float32)
    alpha[:, SIDE // 2 :] = 1
    below = np.full_like(BELOW, 20)
    step = {
        how: np.abs(np.diff(blend(below, face, alpha, how)[SIDE // 2, :, 0])).max() for how in ("linear", "multiband")
    }
    assert step["linear"] == 200
    inside = blend(below, face, alpha, "multiband")[SIDE // 2, SIDE // 2 :, 0]
    assert inside[2] < 190 < inside[-1]


@pytest.mark.parametrize("how", ["linear", "poisson", "multiband"])
@pytest.mark.parametrize(("left", "top"), [(-60.0, -60.0), (430.0, 430.0)])
def test_paste_back_blends_face_cut_by_border(how, left, top):
    matrix = np.array([[1.0, 0, -left], [0, 1.0, -top]])
    frame = astronaut()
    pasted = paste(frame, np.full((SIDE, SIDE, 3), 90, np.uint8), oval(), matrix, how)
    assert (pasted != frame).any()
    assert pasted.shape == frame.shape


def test_unmix_recovers_face():
    original = BELOW.astype(np.uint8)
    face, mask = np.full_like(BELOW, 230.0), oval()
    finished = np.rint(BELOW + (face - BELOW) * mask[..., None]).astype(np.uint8)
    bare = unmix(original, finished, mask)
    assert np.abs(bare[mask > 0.3].astype(int) - 230).max() <= 2
    np.testing.assert_array_equal(bare[mask == 0], original[mask == 0])
