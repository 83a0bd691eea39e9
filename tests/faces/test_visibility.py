"""Covered regions of real faces stand out from the person's median picture."""

import cv2
import numpy as np
import pytest

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.mean_shape import estimate_mean_shape
from facesmith.faces.visibility import REGIONS, find_covered, find_inside, find_visible_regions, follow_covered

SIZE = 128


@pytest.fixture(scope="module")
def man(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned("arcface_128", SIZE)


def test_divide_face_gives_each_pixel_of_the_face_to_one_region(man: AlignedFaces) -> None:
    canonical = estimate_mean_shape(man)
    parts = masks.divide_face(canonical, SIZE)
    assert np.array_equal(parts.sum(0) == 1, masks.outline_mask(canonical, SIZE) > 0.5)
    assert (parts.sum((1, 2)) > 0.05 * parts.sum()).all()
    for name, point in zip(REGIONS, (topology.LEFT_IRIS[0], 4, 13, 50, 151), strict=True):
        x, y = np.rint(canonical[point, :2]).astype(int)
        assert parts[REGIONS.index(name), y, x], name


def cover(faces: AlignedFaces, row: int, points: list[int]) -> AlignedFaces:
    """Paint a plain green patch over points of one face."""
    images = faces.images.copy()
    (x, y), (right, bottom) = (edge(faces.landmarks[row, points, :2], axis=0) for edge in (np.min, np.max))
    images[row, int(y) - 4 : int(bottom) + 4, int(x) - 6 : int(right) + 6] = (60, 90, 60)
    return AlignedFaces(images, faces.landmarks, faces.blendshapes, faces.template)


def visible(faces: AlignedFaces) -> np.ndarray:
    return find_visible_regions(faces, estimate_mean_shape(faces))


@pytest.mark.parametrize(("region", "points"), [("mouth", topology.MOUTH), ("eyes", topology.EYES + topology.BROWS)])
def test_find_visible_regions_finds_the_covered_one(man: AlignedFaces, region: str, points: list[int]) -> None:
    found = visible(cover(man, 0, points))
    assert not found[0, REGIONS.index(region)]
    assert found[1:].mean() > 0.97


def test_find_visible_regions_of_a_man_who_talks_blinks_and_turns_are_all(man: AlignedFaces) -> None:
    assert visible(man).mean() > 0.97


def test_find_visible_regions_in_another_light_are_the_same(man: AlignedFaces) -> None:
    images = man.images.copy()
    slope = np.linspace(0.5, 1.4, SIZE)[:, None]
    images[::4] = np.clip(images[::4] * slope * (1.1, 1, 0.8), 0, 255)
    lit = AlignedFaces(images, man.landmarks, man.blendshapes, man.template)
    assert visible(lit).mean() > 0.95


def test_find_visible_regions_of_a_moving_head_are_none(man: AlignedFaces) -> None:
    images = man.images.copy()
    images[0] = cv2.blur(images[0], (13, 5))
    found = visible(AlignedFaces(images, man.landmarks, man.blendshapes, man.template))
    assert not found[0].any()
    assert found[1:].mean() > 0.97


def test_find_visible_regions_of_what_most_pictures_show_is_visible(man: AlignedFaces) -> None:
    covered = man
    for row in range(len(man) * 3 // 4):
        covered = cover(covered, row, topology.EYES)
    eyes = visible(covered)[:, REGIONS.index("eyes")]
    assert eyes[: len(man) * 3 // 4].mean() > 0.9


def test_find_inside_misses_the_chin_below_the_border(man: AlignedFaces) -> None:
    shape = estimate_mean_shape(man)
    wide, low = (SIZE * 2, SIZE * 2), (SIZE * 2, int(man.landmarks[0, topology.LIPS_OUTER, 1].max()))
    inside = find_inside(man.landmarks[[0, 0]], np.array([wide, low]), shape, SIZE)
    assert inside[0].all()
    assert [name for name, there in zip(REGIONS, inside[1], strict=True) if not there] == ["mouth", "cheeks"]


def test_estimate_mean_shape_leaves_out_covered_regions(man: AlignedFaces) -> None:
    moved = man.landmarks.copy()
    moved[0, topology.MOUTH, 1] += 40
    seen = np.ones((len(man), len(REGIONS)), np.bool_)
    seen[0, REGIONS.index("mouth")] = False
    shapes = [
        estimate_mean_shape(AlignedFaces(moved, points, man.blendshapes, man.template, known))
        for moved, points, known in ((man.images, man.landmarks, seen), (man.images, moved, seen))
    ]
    assert np.abs(shapes[0] - shapes[1])[topology.MOUTH].max() < 0.7


def test_follow_covered_finds_a_hand_that_comes_and_goes() -> None:
    mouth = REGIONS.index("mouth")
    distances = np.zeros((7, len(REGIONS)))
    distances[:, mouth] = [0.03, 0.07, 0.2, 0.07, 0.07, 0.07, 0.07]
    tracks, times = np.array([0, 0, 0, 0, 0, 1, 0]), np.array([0, 0.4, 0.8, 1.2, 1.6, 1.7, 4.0])
    covered = find_covered(distances)
    assert covered[:, mouth].tolist() == [False, False, True, False, False, False, False]
    followed = follow_covered(covered, distances, tracks, times)
    assert followed[:, mouth].tolist() == [False, True, True, True, True, False, False]
    stills = follow_covered(covered, distances, np.arange(7), np.full(7, np.nan))
    assert np.array_equal(stills, covered)
