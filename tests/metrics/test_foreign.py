import numpy as np
import pytest

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.geometry.topology import REGIONS
from facesmith.metrics.foreign import Foreign, PersonAppearance

CHEEKS, FOREHEAD = REGIONS.index("cheeks"), REGIONS.index("forehead")


@pytest.fixture(scope="module")
def faces(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned()


@pytest.fixture(scope="module")
def appearance(faces: AlignedFaces) -> PersonAppearance:
    return PersonAppearance(faces[:-2:2])


def measure(appearance: PersonAppearance, faces: AlignedFaces, swapped: np.ndarray) -> Foreign:
    """Compare a picture with another frame as its target, on the last frame's landmarks."""
    points = faces.landmarks[-1]
    mask = outline_mask(points, faces.size)
    return appearance.find_foreign(swapped, faces.images[0], mask, appearance.locate(points, faces.size))


def test_person_appearance_own_frame_is_explained(appearance: PersonAppearance, faces: AlignedFaces) -> None:
    plain = measure(appearance, faces, faces.images[-1])
    assert np.nanmax(plain.regions) < 0.22
    assert plain.stripes < 0.006


def test_person_appearance_stripes_are_foreign(appearance: PersonAppearance, faces: AlignedFaces) -> None:
    wave = 16 * np.sin(np.arange(faces.size) * 2 * np.pi / 6)
    striped = np.clip(faces.images[-1] + wave[None, :, None], 0, 255).astype(np.uint8)
    plain, seen = (measure(appearance, faces, picture) for picture in (faces.images[-1], striped))
    assert seen.regions[CHEEKS] > 1.8 * plain.regions[CHEEKS]
    assert seen.stripes > 0.02


def test_person_appearance_finger_on_cheek_is_foreign_there(appearance: PersonAppearance, faces: AlignedFaces) -> None:
    picture = faces.images[-1].copy()
    x, y = faces.landmarks[-1, 50, :2].astype(int)
    skin = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0)
    for finger in range(3):
        left = x - 12 + 8 * finger
        shade = 0.6 + 0.5 * np.sin(np.linspace(0.1, np.pi - 0.1, 7))
        picture[y - 8 : y + 30, left : left + 7] = np.clip(skin * shade[None, :, None], 0, 255)
    plain, seen = (measure(appearance, faces, one) for one in (faces.images[-1], picture))
    assert seen.regions[CHEEKS] > 1.5 * plain.regions[CHEEKS]
    assert seen.regions[FOREHEAD] == pytest.approx(plain.regions[FOREHEAD], abs=0.02, nan_ok=True)


def test_person_appearance_what_the_target_shows_is_not_foreign(
    appearance: PersonAppearance, faces: AlignedFaces
) -> None:
    wave = 16 * np.sin(np.arange(faces.size) * 2 * np.pi / 6)
    striped = np.clip(faces.images[-1] + wave[None, :, None], 0, 255).astype(np.uint8)
    points = faces.landmarks[-1]
    places, mask = appearance.locate(points, faces.size), outline_mask(points, faces.size)
    assert np.nanmax(appearance.find_foreign(striped, striped, mask, places).regions) < 1e-2


def test_person_appearance_empty_mask_is_not_measured(appearance: PersonAppearance, faces: AlignedFaces) -> None:
    places = appearance.locate(faces.landmarks[0], faces.size)
    empty = np.zeros((faces.size, faces.size), np.float32)
    foreign = appearance.find_foreign(faces.images[0], faces.images[0], empty, places)
    assert np.isnan([*foreign.regions, foreign.stripes]).all()
