"""How steady a swapped face is from frame to frame, beside the face that was there."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Flags = NDArray[np.bool_]

_LEAST_CHANGE: Final = 0.5  # levels of 255; below it a change is noise of the codec
_AGREES: Final = 1.0  # px; where flow there and back differs by more, something was covered
_LEAST: Final = 100  # px


@dataclass(frozen=True)
class Steadiness:
    """Change of a face between two neighbouring frames.

    Attributes:
        flicker: Mean change of the inner face in place, by the target's own; 1: as steady as the target.
        warping_error: Mean square, levels of 0..1 times 1,000, of what differs after the target's own motion (dense
            optical flow) is undone; nan where too little is seen in both frames.
        warping_error_target: The same of the target's frames.
    """

    flicker: float
    warping_error: float
    warping_error_target: float


def measure_steadiness(
    swapped: tuple[Pixels, Pixels], target: tuple[Pixels, Pixels], inside: NDArray[np.floating]
) -> Steadiness:
    """Compare two neighbouring frames of a swapped face.

    Source of the warping error: Lai et al., Learning Blind Video Temporal Consistency, 2018; with OpenCV's DIS flow, of
    the target, so that a swap cannot hide its flicker in its own flow.

    Args:
        swapped: The first and the second frame in one crop, (S,S,3) RGB each.
        target: The same crops of the target.
        inside: (S,S) 0..1, the inner face in the first frame.
    """
    face = inside > 0.5
    change, change_was = (float(np.abs(_float(b) - _float(a)).mean(-1)[face].mean()) for a, b in (swapped, target))
    places, seen = _follow(*target)
    seen &= face
    errors = [float("nan")] * 2
    if seen.sum() >= _LEAST:
        errors = [_warping_error(*pair, places, seen) for pair in (swapped, target)]
    return Steadiness(change / max(change_was, _LEAST_CHANGE), *errors)


def _float(picture: Pixels) -> NDArray[np.float32]:
    return picture.astype(np.float32)


def _follow(first: Pixels, second: Pixels) -> tuple[NDArray[np.float32], Flags]:
    """Return where each pixel of the first frame is in the second, (S,S,2) px, and whether it is seen there."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second))
    none = np.zeros((*a.shape, 2), np.float32)
    there = np.asarray(flow.calc(a, b, none.copy()), np.float32)
    back = np.asarray(flow.calc(b, a, none), np.float32)
    rows, columns = np.mgrid[: len(first), : first.shape[1]].astype(np.float32)
    places = np.stack([columns, rows], -1) + there
    returned = cv2.remap(back, places[..., 0], places[..., 1], cv2.INTER_LINEAR)
    within = ((places >= 0) & (places <= len(first) - 1)).all(-1)
    return places, within & (np.linalg.norm(there + returned, axis=-1) < _AGREES)


def _warping_error(first: Pixels, second: Pixels, places: NDArray[np.float32], seen: Flags) -> float:
    brought = cv2.remap(_float(second), places[..., 0], places[..., 1], cv2.INTER_LINEAR)
    return float(np.square((brought - _float(first))[seen] / 255).mean() * 1000)
