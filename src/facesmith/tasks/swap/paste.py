"""Bring a swapped crop back into its frame, and prepare crops for that."""

import functools
import math
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry.alignment import Matrix, invert_transform, transform_scale
from facesmith.tasks.swap.blending import Blend, Floats, blend

Pixels = npt.NDArray[np.uint8]

# Of the crop's side: a mask that touches the rim fades over it instead of showing a straight edge.
_RIM = 0.06
# Below this mask value, a finished crop contains too little of the face that was blended into it.
_LEAST = 0.25


def paste_back(frame: Pixels, face: Pixels, mask: Floats, matrix: Matrix, how: Blend = "linear") -> None:
    """Blend a face crop into the frame, in place.

    Only the crop's bounding box is computed; pixels whose mask is 0 stay bit-equal.

    Args:
        frame: (H,W,3) RGB uint8, changed in place.
        face: (S,S,3) RGB uint8, meaningful inside the mask.
        mask: How much of the face shows, (S,S) 0..1.
        matrix: (2,3), frame to crop.
        how: See `blend`.
    """
    size = face.shape[0]
    left, top, right, bottom = _bounds(matrix, size, frame.shape[1], frame.shape[0])
    if right <= left or bottom <= top:
        return
    to_box = invert_transform(matrix)
    to_box[:, 2] -= left, top
    shape = (right - left, bottom - top)
    fading = np.clip(mask.astype(np.float32), 0, 1) * _rim(size)
    alpha = np.clip(_warp(fading, to_box, shape, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR), 0, 1)
    above = _warp(face.astype(np.float32), to_box, shape, cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)
    below = frame[top:bottom, left:right]
    blended = blend(below.astype(np.float32), above, alpha, how)
    frame[top:bottom, left:right] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def _bounds(matrix: Matrix, size: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the crop in the frame, cut at the frame's border."""
    corners = np.array([(-0.5, -0.5), (size - 0.5, -0.5), (-0.5, size - 0.5), (size - 0.5, size - 0.5)])
    back = invert_transform(matrix)
    points = corners @ back[:, :2].T + back[:, 2]
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)


def _warp(picture: Floats, matrix: Matrix, shape: tuple[int, int], border: int, interpolation: int) -> Floats:
    """Warp a crop into a box of (width, height); a crop that shrinks is averaged, not sampled."""
    samples = max(math.ceil(1 / transform_scale(matrix) - 1e-6), 1)
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
    """Return (S,S): 0 at the crop's rim, 1 from _RIM inwards, smooth between."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(size * _RIM, 1)
    ramp = np.clip(inside, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    rim = np.minimum.outer(ramp, ramp).astype(np.float32)
    rim.setflags(write=False)
    return rim


def unmix(original: Pixels, finished: Pixels, mask: Floats) -> Pixels:
    """Recover a face from the crops it was blended into, so that it can be blended anew.

    Args:
        original: The crops before, (...,S,S,3) uint8.
        finished: The crops with the face, (...,S,S,3) uint8.
        mask: (...,S,S) 0..1, with which `finished` was blended.

    Returns:
        The bare face, (...,S,S,3) uint8; where the mask is low it fades into the original.
    """
    before = original.astype(np.float32)
    face = before + (finished - before) / np.maximum(mask, _LEAST)[..., None]
    return np.clip(np.rint(face), 0, 255).astype(np.uint8)


Scalar = TypeVar("Scalar", bound=np.generic)


def tile(crops: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Split crops into interleaved tiles for a model of a smaller size.

    Args:
        crops: (N,kS,kS,C).
        k: Tiles along each side.

    Returns:
        (Nkk,S,S,C); tile (i,j) of each crop holds its pixels [i::k, j::k].
    """
    n, side, _, channels = crops.shape
    small = side // k
    parts = crops.reshape(n, small, k, small, k, channels).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts.reshape(n * k * k, small, small, channels))


def tile_points(points: Floats, k: int) -> Floats:
    """Return where the points of crops lie in their tiles.

    Args:
        points: (N,P,3) px and depth, where (0, 0) is the centre of the top left pixel.
        k: Tiles along each side.

    Returns:
        (Nkk,P,3), in the order of `tile`.
    """
    down, across = np.divmod(np.arange(k * k, dtype=np.float32), k)
    offsets = np.stack([across, down, np.zeros_like(down)], -1)
    return np.asarray((points[:, None] - offsets[:, None]) / k, np.float32).reshape(-1, *points.shape[1:])


def untile(parts: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Join tiles (Nkk,S,S,C) of `tile` to crops (N,kS,kS,C) again."""
    count, small, _, channels = parts.shape
    whole = parts.reshape(count // (k * k), k, k, small, small, channels).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(whole.reshape(-1, small * k, small * k, channels))
