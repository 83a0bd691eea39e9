"""Lay a swapped crop back into the frame it was cut from."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.align import invert, scale

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

# Of the crop's side: a mask that touches the rim fades over it instead of showing a straight edge.
_RIM = 0.06
# The crop is a finished composite, blended under the mask already. Blending it again under the same mask
# would eat into the face, so the second blend only keeps the frame's own pixels where the mask is next to 0.
_STEEPNESS = 4.0


def paste(frame: Pixels, crop: Pixels, mask: Floats, matrix: Matrix) -> Pixels:
    """Give a copy of the frame with the crop laid over it.

    frame: (H, W, 3) RGB uint8. crop: (S, S, 3) RGB uint8, already composited. mask: (S, S) float in 0..1,
    where the crop differs from the frame. matrix: (2, 3), frame to crop. Frame pixels whose mask is 0 stay
    bit-equal; only the crop's bounding box is computed.
    """
    size = crop.shape[0]
    left, top, right, bottom = _bounds(matrix, size, frame.shape[1], frame.shape[0])
    result = frame.copy()
    if right <= left or bottom <= top:
        return result
    to_box = invert(matrix)
    to_box[:, 2] -= left, top
    shape = (right - left, bottom - top)
    fading = np.clip(mask.astype(np.float32) * _STEEPNESS, 0, 1) * _rim(size)
    alpha = np.clip(_warp(fading, to_box, shape, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR), 0, 1)[..., None]
    face = _warp(crop.astype(np.float32), to_box, shape, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)
    below = result[top:bottom, left:right]
    blended = below + (face - below) * alpha
    result[top:bottom, left:right] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return result


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


def _rim(size: int) -> Floats:
    """(S, S): 0 at the crop's rim, 1 from _RIM inwards, smooth between."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(size * _RIM, 1)
    ramp = np.clip(inside, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.minimum.outer(ramp, ramp).astype(np.float32)
