import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.geometry.colour import match_skin_colour

SKIN = np.zeros((128, 128), np.float32)
SKIN[40:100, 40:90] = 1
FACE = cv2.resize(astronaut()[40:168, 150:278], (128, 128))


def mean(picture: np.ndarray) -> np.ndarray:
    return picture[SKIN > 0].mean(0)


@pytest.mark.parametrize(("gain", "offset"), [(0.6, (0, 0, 0)), (1.0, (-25, 0, 30)), (0.8, (0, 20, 0))])
def test_match_skin_colour_undoes_light(gain, offset):
    tinted = np.clip(FACE * gain + np.array(offset), 0, 255).astype(np.uint8)
    assert np.abs(mean(tinted) - mean(FACE)).max() > 15
    assert np.abs(mean(match_skin_colour(tinted, FACE, SKIN)) - mean(FACE)).max() < 5


def test_match_skin_colour_soft_face_stays_soft():
    """Detail is no contrast: a blurred face keeps its own."""
    soft = cv2.GaussianBlur(FACE, (0, 0), 3)
    matched = match_skin_colour(soft, FACE, SKIN)
    assert matched[SKIN > 0].std() < 1.15 * soft[SKIN > 0].std()


def test_match_skin_colour_without_skin_changes_nothing():
    np.testing.assert_array_equal(match_skin_colour(FACE, FACE[::-1], np.zeros_like(SKIN)), FACE)
