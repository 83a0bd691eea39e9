"""The packaged occluder tells how much of a region is hidden, from one picture alone."""

import cv2
import numpy as np

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.topology import REGIONS
from facesmith.faces.hidden_share import find_hidden, measure_hidden_shares

MOUTH = REGIONS.index("mouth")


def test_measure_hidden_shares_of_a_disc_before_the_mouth_is_the_mouth(carphone_set: FaceSet) -> None:
    faces = carphone_set.aligned("arcface_128", 128)[:2]
    middle = faces.landmarks[0, topology.MOUTH, :2].mean(0)
    width = np.ptp(faces.landmarks[0, topology.MOUTH, 0])
    cv2.circle(faces.images[0], tuple(np.rint(middle).astype(int).tolist()), round(0.7 * width), (30, 60, 30), -1)
    shares = measure_hidden_shares(faces)
    assert shares.shape == (2, len(REGIONS))
    assert shares[0, MOUTH] > 0.5
    assert find_hidden(shares)[0, MOUTH]
    assert not find_hidden(shares)[1].any()  # nothing is before the other face
    assert not find_hidden(shares)[0, REGIONS.index("eyes")]


def test_measure_hidden_shares_of_no_face_is_empty(carphone_set: FaceSet) -> None:
    assert measure_hidden_shares(carphone_set.aligned("arcface_128", 128)[:0]).shape == (0, len(REGIONS))
