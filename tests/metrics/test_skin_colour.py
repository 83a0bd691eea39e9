import cv2
import numpy as np
import pytest

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.metrics.skin_colour import ColourError, colour_error


@pytest.fixture(scope="module")
def face(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned()[:1]


def measure(face: AlignedFaces, move: np.ndarray) -> ColourError:
    """Measure the face after its skin was moved in CIELAB by (3,) or (S,S,3)."""
    target, points = face.images[0], face.landmarks[0]
    mask = outline_mask(points, face.size)
    lab = cv2.cvtColor(target.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab += np.asarray(move, np.float32) * mask[..., None]
    swapped = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
    return colour_error(swapped, target, points, mask)


def test_colour_error_untouched_face_is_none(face: AlignedFaces) -> None:
    same = measure(face, np.zeros(3))
    assert same.face == pytest.approx(0, abs=0.2)
    assert same.patches == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("move", [(0, -14, 6), (0, 12, -16), (0, 16, -8), (0, -8, 16), (-16, 0, 0), (16, 0, 0)])
def test_colour_error_tinted_face_is_far(face: AlignedFaces, move: tuple[float, float, float]) -> None:
    assert measure(face, np.array(move)).face > 7


def test_colour_error_tinted_away_from_neck_is_further_around(face: AlignedFaces) -> None:
    assert measure(face, np.array([0, 16, -8])).around > measure(face, np.zeros(3)).around + 5


def test_colour_error_green_and_violet_halves_are_patches(face: AlignedFaces) -> None:
    side = np.tanh(np.linspace(-4, 4, face.size))[None, :, None] * np.array([0, 14, -10])
    halves = measure(face, np.broadcast_to(side, (face.size, face.size, 3)))
    assert halves.patches > 7
    assert halves.patches > 1.5 * halves.face


def test_colour_error_empty_mask_is_not_measured(face: AlignedFaces) -> None:
    empty = np.zeros((face.size, face.size), np.float32)
    assert np.isnan(colour_error(face.images[0], face.images[0], face.landmarks[0], empty).face)
