"""Lay a swapped crop back into the frame it was cut from."""

import functools
import math

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry.align import invert, scale
from facesmith.tasks.swap.blending import Blend, blend

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# Of the crop's side: a mask that touches the rim fades over it instead of showing a straight edge.
_RIM = 0.06
# Below this share of a mask, a finished crop says too little about the face that was laid over it.
_LEAST = 0.25


def uncovered(original: Pixels, finished: Pixels, mask: Floats) -> Pixels:
    """Take a face out of the crops it was blended into, so that it can be blended anew.

    original, finished: (...,S,S,3) uint8. mask: (...,S,S) in 0..1, with which `finished` was blended. Where
    the mask is low the face fades into the original.
    """
    before = original.astype(np.float32)
    face = before + (finished - before) / np.maximum(mask, _LEAST)[..., None]
    return np.clip(np.rint(face), 0, 255).astype(np.uint8)


def paste(frame: Pixels, face: Pixels, mask: Floats, matrix: Matrix, how: Blend = "linear") -> Pixels:
    """Give a copy of the frame with the face laid over it, as `lay` does."""
    result = frame.copy()
    lay(result, face, mask, matrix, how)
    return result


def lay(frame: Pixels, face: Pixels, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
    """Lay a face over the frame, in place.

    frame: (H,W,3) RGB uint8. face: (S,S,3) RGB uint8, meaningful where the mask is. mask: (S,S) float in
    0..1, how much of the face shows. matrix: (2,3), frame to crop. Frame pixels whose mask is 0 stay
    bit-equal; only the crop's bounding box is computed.
    """
    size = face.shape[0]
    left, top, right, bottom = _bounds(matrix, size, frame.shape[1], frame.shape[0])
    if right <= left or bottom <= top:
        return
    to_box = invert(matrix)
    to_box[:, 2] -= left, top
    shape = (right - left, bottom - top)
    fading = np.clip(mask.astype(np.float32), 0, 1) * _rim(size)
    alpha = np.clip(_warp(fading, to_box, shape, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR), 0, 1)
    above = _warp(face.astype(np.float32), to_box, shape, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)
    below = frame[top:bottom, left:right]
    blended = blend(below.astype(np.float32), above, alpha, how)
    frame[top:bottom, left:right] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def _bounds(matrix: Matrix, size: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the crop in the frame, cut at the frame's border."""
    corners = np.array([(-0.5, -0.5), (size - 0.5, -0.5), (-0.5, size - 0.5), (size - 0.5, size - 0.5)])
    back = invert(matrix)
    points = corners @ back[:, :2].T + back[:, 2]
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)


def _warp(picture: Floats, matrix: Matrix, shape: tuple[int, int], border: int, interpolation: int) -> Floats:
    """Warp a crop into a box of (width, height); a crop that shrinks is averaged, not sampled."""
    samples = max(math.ceil(1 / scale(matrix) - 1e-6), 1)
    fine = matrix * samples
    fine[:, 2] += (samples - 1) / 2
    flags = interpolation if samples == 1 else cv2.INTER_LINEAR
    size = (shape[0] * samples, shape[1] * samples)
    warped = cv2.warpAffine(picture, fine, size, flags=flags, borderMode=border)
    if samples > 1:
        warped = cv2.resize(warped, shape, interpolation=cv2.INTER_AREA)
    return np.asarray(warped, np.float32)


@functools.lru_cache(maxsize=8)
def _rim(size: int) -> Floats:
    """(S, S): 0 at the crop's rim, 1 from _RIM inwards, smooth between."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(size * _RIM, 1)
    ramp = np.clip(inside, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    rim = np.minimum.outer(ramp, ramp).astype(np.float32)
    rim.setflags(write=False)
    return rim
