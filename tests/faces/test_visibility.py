"""Covered regions of real faces stand out from the person's median picture."""

import numpy as np
import pytest

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser
from facesmith.faces.visibility import REGIONS, measure_distances

SIZE = 128


@pytest.fixture(scope="module")
def man(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned("arcface_128", SIZE)


def test_divide_face_gives_each_pixel_of_the_face_to_one_region(man: AlignedFaces) -> None:
    canonical = FrameChooser(man).canonical
    parts = masks.divide_face(canonical, SIZE)
    assert np.array_equal(parts.sum(0) == 1, masks.outline_mask(canonical, SIZE) > 0.5)
    assert (parts.sum((1, 2)) > 0.05 * parts.sum()).all()
    for name, point in zip(REGIONS, (topology.LEFT_IRIS[0], 4, 13, 50, 151), strict=True):
        x, y = np.rint(canonical[point, :2]).astype(int)
        assert parts[REGIONS.index(name), y, x], name


def test_measure_distances_of_a_covered_mouth_stands_out(man: AlignedFaces) -> None:
    covered = man.images.copy()
    y, x = man.landmarks[0, topology.MOUTH, 1], man.landmarks[0, topology.MOUTH, 0]
    covered[0, int(y.min()) - 4 : int(y.max()) + 4, int(x.min()) - 6 : int(x.max()) + 6] = (60, 90, 60)
    faces = AlignedFaces(covered, man.landmarks, man.blendshapes, man.template)
    distance = measure_distances(faces, FrameChooser(faces).canonical)
    mouth, eyes = REGIONS.index("mouth"), REGIONS.index("eyes")
    assert distance[0, mouth] > 1.5 * distance[1:, mouth].max()
    assert distance[0, eyes] < 1.5 * distance[1:, eyes].max()
