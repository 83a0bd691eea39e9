"""Aligned faces keep what is visible of them."""

import numpy as np
import pytest

from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.topology import REGIONS


def faces(count: int, visible: np.ndarray | None = None) -> AlignedFaces:
    arrays = np.zeros((count, 8, 8, 3), np.uint8), np.zeros((count, 478, 3), np.float32), np.zeros((count, 52))
    return AlignedFaces(*arrays, "arcface_128", *([] if visible is None else [visible]))


def test_aligned_faces_without_visibility_are_all_visible() -> None:
    assert faces(3).visible.shape == (3, len(REGIONS))
    assert faces(3).visible.all()
    assert len(faces(0).visible) == 0


def test_aligned_faces_indexed_mirrored_and_joined_keep_their_visibility() -> None:
    visible = np.random.default_rng(0).random((4, len(REGIONS))) > 0.5
    some = faces(4, visible)
    assert np.array_equal(some[[2, 0]].visible, visible[[2, 0]])
    assert np.array_equal(some[1:].visible, visible[1:])
    assert np.array_equal(some.mirror().visible, visible)
    joined = AlignedFaces.concat([some, faces(1)])
    assert np.array_equal(joined.visible, np.concatenate([visible, np.ones((1, len(REGIONS)), np.bool_)]))


def test_aligned_faces_with_visibility_of_other_faces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"visible must be \(3,5\), got \(2, 5\)"):
        faces(3, np.ones((2, len(REGIONS)), np.bool_))
