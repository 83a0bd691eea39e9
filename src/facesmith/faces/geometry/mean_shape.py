"""A person's mean face shape, in whose coordinates pictures are compared and kept."""

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import fit_similarity

Floats = NDArray[np.float64]


def estimate_mean_shape(faces: AlignedFaces) -> Floats:
    """Average the landmarks of a person's faces and make them symmetric.

    A covered region's landmarks are a guess: they count only where no face shows the region.

    Args:
        faces: N faces, at least one.

    Returns:
        (478,3) px of the crop.
    """
    mean = _average(faces, np.ones((len(faces), topology.LANDMARKS)))
    if faces.visible.all():
        return mean
    weights = faces.visible[:, masks.assign_landmarks(mean, faces.size)].astype(np.float64)
    weights[:, ~weights.any(0)] = 1
    return _average(faces, weights)


def _average(faces: AlignedFaces, weights: Floats) -> Floats:
    weights = (weights / weights.sum(0))[..., None]
    flat, depth = faces.landmarks[..., :2].astype(np.float64), faces.landmarks[..., 2:].astype(np.float64)
    mean = (fit_similarity(flat, (flat * weights).sum(0)) * weights).sum(0)
    mirrored = mean[topology.LANDMARK_MIRROR] * (-1, 1) + (faces.size - 1, 0)
    symmetric = (mean + fit_similarity(mirrored[None], mean)[0]) / 2
    deep = (depth * weights).sum(0)
    return np.concatenate([symmetric, (deep + deep[topology.LANDMARK_MIRROR]) / 2], axis=1)
