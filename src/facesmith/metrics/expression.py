"""How far the expression of a swapped face is from the target's."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology
from facesmith.faces.measures import eye_distance

Floats = NDArray[np.floating]

SEVEN_SHAPES: Final = [
    topology.BLENDSHAPES.index(name)
    for name in (
        *("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft", "mouthSmileRight"),
        *("mouthFunnel", "mouthPucker"),
    )
]
"""Positions in `topology.BLENDSHAPES` of shapes of eyes and mouth that show at once when they are wrong."""
_OPEN, _SHUT = 0.35, 0.5  # blink scores below and above which an eye is surely open, surely shut
_ALLOWED: Final = 0.25  # of the smaller gap: wide open mouths are measured less exactly
_UPPER_LIP, _LOWER_LIP = 13, 14  # where the inner rims of the lips meet


@dataclass(frozen=True)
class ExpressionError:
    """Differences of two expressions.

    Attributes:
        all_shapes: Mean absolute difference of the 52 blendshapes, 0..1.
        seven_shapes: The same of SEVEN_SHAPES.
        eyes: The same of the two blink scores.
        mouth: Absolute difference of the jaw scores, 0..1.
        lips: Difference of the gap between the lips beyond a quarter of the smaller, in the target's eye distances;
            positive where it is wider.
        shut: Whether an eye is shut that was open.
    """

    all_shapes: float
    seven_shapes: float
    eyes: float
    mouth: float
    lips: float
    shut: bool


def expression_error(shapes: Floats, target_shapes: Floats, landmarks: Floats, target: Floats) -> ExpressionError:
    """Compare a swapped face's expression with its target's.

    Args:
        shapes: (52,) 0..1 of the swapped face.
        target_shapes: (52,) of the target's.
        landmarks: (478,2+) px of the swapped face.
        target: (478,2+) px of the target's.
    """
    apart = np.abs(shapes - target_shapes)
    blink, blink_was = shapes[topology.EYE_BLINK], target_shapes[topology.EYE_BLINK]
    return ExpressionError(
        all_shapes=float(apart.mean()),
        seven_shapes=float(apart[SEVEN_SHAPES].mean()),
        eyes=float(apart[topology.EYE_BLINK].mean()),
        mouth=float(apart[topology.JAW_OPEN]),
        lips=_lip_gap(landmarks, target),
        shut=bool(((blink_was < _OPEN) & (blink > _SHUT)).any()),
    )


def _lip_gap(landmarks: Floats, target: Floats) -> float:
    ours, theirs = _gap(landmarks), _gap(target)
    beyond = max(abs(ours - theirs) - _ALLOWED * min(ours, theirs), 0.0)
    return float(np.copysign(beyond, ours - theirs) / eye_distance(np.asarray(target, np.float32)))


def _gap(landmarks: Floats) -> float:
    return float(np.linalg.norm(landmarks[_UPPER_LIP, :2] - landmarks[_LOWER_LIP, :2]))
