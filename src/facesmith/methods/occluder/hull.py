"""The face's outline as a mask, with the forehead that landmarks leave out."""

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology
from facesmith.faces.geometry.colour import filled


def face_mask(landmarks: NDArray[np.floating], size: int, forehead: float) -> NDArray[np.float32]:
    """Give the convex outline of (478,2+) landmarks in px as (size,size) float32, 1 inside.

    forehead: how far the points above the brows are moved away from them, of their distance to them: the mesh ends in
    the middle of the forehead.
    """
    points = np.asarray(landmarks[topology.OVAL, :2], np.float32)
    brows = landmarks[topology.BROWS, :2].mean(0)
    up = brows - landmarks[topology.MOUTH, :2].mean(0)
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    above = np.clip((points - brows) @ up, 0, None)
    raised = points + (forehead * above)[:, None] * up
    everything = np.concatenate([landmarks[: topology.MESH, :2], raised])
    return filled(everything, size)
