"""How far the head of a swapped face is turned away from the target's."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# corners of the eyes, bridge and root of the nose, temples, cheekbones and forehead: no expression moves them much
_RIGID: Final = [33, 133, 362, 263, 6, 168, 197, 195, 5, 4, 9, 151, 10, 127, 356, 234, 454, 54, 284, 67, 297, 93, 323]


def pose_error(landmarks: Floats, target: Floats) -> NDArray[np.float64]:
    """Measure the rotation between two heads (Kabsch), by landmarks that no expression moves.

    Args:
        landmarks: (478,3) px of the swapped face.
        target: (478,3) px of the target's.

    Returns:
        (3,) pitch, yaw, roll in degrees, signed as `Face.pose`: positive where the swapped face has its chin lower, its
        nose further to the picture's right, leans further clockwise.
    """
    ours, theirs = (points[_RIGID, :3].astype(np.float64) for points in (landmarks, target))
    ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
    u, _, vt = np.linalg.svd(ours.T @ theirs)
    upright = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    rotation = u @ upright @ vt  # turns the target's head into ours
    flip = np.diag([1.0, -1.0, -1.0])  # from y down, z away, to y up, z near, in which poses are told
    rotation = flip @ rotation @ flip
    return np.degrees(
        [
            np.arctan2(rotation[2, 1], rotation[2, 2]),
            np.arcsin(np.clip(-rotation[2, 0], -1, 1)),
            -np.arctan2(rotation[1, 0], rotation[0, 0]),
        ]
    )
