"""Where the eyes of a face look, relative to its head."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.topology import EYE_BLINK

Floats = NDArray[np.floating]

# pupil, and the corners of the eye from left to right in the picture
_LEFT: Final = (468, 33, 133)
_RIGHT: Final = (473, 362, 263)
_RADIUS: Final = 0.42  # of the eyeball, by the distance of the corners: 12 mm of 28.5 mm
_SHUT: Final = 0.4  # of the blink scores, above which a pupil is guessed


def gaze_error(landmarks: Floats, target: Floats, shapes: Floats, target_shapes: Floats) -> float:
    """Measure the angle between the gazes of two faces, each relative to its head.

    The pupil's place between the corners of the eye is turned into an angle by the size of an average eyeball.

    Args:
        landmarks: (478,2+) px of the swapped face.
        target: (478,2+) px of the target's.
        shapes: (52,) blendshapes 0..1 of the swapped face.
        target_shapes: (52,) of the target's.

    Returns:
        Degrees, mean of both eyes; nan where an eye of either face is shut.
    """
    if max(shapes[EYE_BLINK].max(), target_shapes[EYE_BLINK].max()) > _SHUT:
        return float("nan")
    return float(np.mean([np.linalg.norm(_angles(landmarks, eye) - _angles(target, eye)) for eye in (_LEFT, _RIGHT)]))


def _angles(landmarks: Floats, eye: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return (2,) degrees, to the picture's right and down, of a pupil off the middle of its eye's corners."""
    pupil, first, second = (landmarks[point, :2].astype(np.float64) for point in eye)
    along = second - first
    width = max(float(np.linalg.norm(along)), 1e-6)
    along /= width
    away = pupil - (first + second) / 2
    offsets = np.array([away @ along, away @ np.array([-along[1], along[0]])]) / (_RADIUS * width)
    return np.degrees(np.arcsin(np.clip(offsets, -1, 1)))
