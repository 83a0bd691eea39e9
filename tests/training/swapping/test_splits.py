"""Which faces are learnt from, and which are held out."""

import numpy as np

from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.face_set.region_flaws import COVERED, no_flaws
from facesmith.training.swapping.splits import split_frames


def test_split_frames_holds_out_no_covered_frame(carphone_set: FaceSet) -> None:
    faces = FaceSet(carphone_set.path)
    flaws = no_flaws(len(faces))
    flaws[[3, 25, 27], 2] = COVERED
    faces.__dict__["flaws"] = flaws
    learnt, held_out = split_frames(faces, 0.2)
    assert learnt.rows.tolist() == list(range(24))
    assert held_out.rows.tolist() == [24, 26, 28, 29]
    flaws[24:, 0] = COVERED
    assert len(split_frames(faces, 0.2)[1]) == 0
    assert np.array_equal(split_frames(faces, 0.0)[0].rows, np.arange(30))
