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
Bounds = tuple[int, int, int, int]
"""Left, top, right, bottom in px; right and bottom are outside."""

# Of the crop's side: a mask that touches the rim fades over it instead of showing a straight edge.
_RIM = 0.06
# Below this mask value, a finished crop contains too little of the face that was blended into it.
_LEAST = 0.25


def paste_back(
    frame: npt.NDArray[np.integer], face: Pixels | Floats, mask: Floats, matrix: Matrix, how: Blend = "linear"
) -> None:
    """Blend a face crop into the frame, in place.

    Only the crop's bounding box is computed; pixels whose mask is 0 stay bit-equal.

    Args:
        frame: (H,W,3) RGB uint8, or uint16 of full scale; changed in place.
        face: (S,S,3) RGB 0..255, meaningful inside the mask.
        mask: How much of the face shows, (S,S) 0..1.
        matrix: (2,3), frame to crop.
        how: See `blend`.
    """
    most = int(np.iinfo(frame.dtype).max)
    fading = fade_mask(mask)
    bounds = find_bounds(fading, matrix, frame.shape[1], frame.shape[0])
    if bounds is None:
        return
    left, top, right, bottom = bounds
    alpha = warp_mask(fading, matrix, bounds)
    above = warp_back(np.asarray(face, np.float32), matrix, bounds)
    below = frame[top:bottom, left:right].astype(np.float32) * np.float32(255 / most)
    blended = blend(below, above, alpha, how) * np.float32(most / 255)
    touched = (alpha > 0)[..., None]
    result = np.clip(np.rint(blended), 0, most).astype(frame.dtype)
    frame[top:bottom, left:right] = np.where(touched, result, frame[top:bottom, left:right])


def fade_mask(mask: Floats) -> Floats:
    """Return a crop's mask (S,S) in 0..1, faded towards the crop's rim."""
    return np.asarray(np.clip(mask, 0, 1) * _rim(mask.shape[0]), np.float32)


def warp_mask(mask: Floats, matrix: Matrix, bounds: Bounds) -> Floats:
    """Warp a crop's mask into the picture.

    Args:
        mask: (S,S) 0..1, faded towards its rim.
        matrix: From the picture to the crop, (2,3).
        bounds: Box of the picture: left, top, right, bottom in px.

    Returns:
        The mask in the box, (H,W) 0..1.
    """
    warped = _warp(mask, _to_box(matrix, bounds), _shape(bounds), cv2.BORDER_CONSTANT, cv2.INTER_LINEAR)
    return np.asarray(np.clip(warped, 0, 1), np.float32)


def warp_back(face: Floats, matrix: Matrix, bounds: Bounds) -> Floats:
    """Warp a crop into the picture.

    Args:
        face: (S,S) or (S,S,C).
        matrix: From the picture to the crop, (2,3).
        bounds: Box of the picture: left, top, right, bottom in px.

    Returns:
        The crop in the box, (H,W) or (H,W,C).
    """
    return _warp(face, _to_box(matrix, bounds), _shape(bounds), cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)


def _to_box(matrix: Matrix, bounds: Bounds) -> Matrix:
    back = invert_transform(matrix)
    back[:, 2] -= bounds[:2]
    return back


def _shape(bounds: Bounds) -> tuple[int, int]:
    return bounds[2] - bounds[0], bounds[3] - bounds[1]


def find_bounds(mask: Floats, matrix: Matrix, width: int, height: int) -> Bounds | None:
    """Return the box of a picture in which a crop's mask shows, cut at the border; None where it shows nowhere.

    Args:
        mask: (S,S).
        matrix: (2,3), picture to crop.
        width: Of the picture in px.
        height: Of the picture in px.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    # Half a pixel to its border, and one more that interpolation reaches.
    x0, x1, y0, y1 = columns[0] - 1.5, columns[-1] + 1.5, rows[0] - 1.5, rows[-1] + 1.5
    corners = np.array([(x0, y0), (x1, y0), (x0, y1), (x1, y1)])
    back = invert_transform(matrix)
    points = corners @ back[:, :2].T + back[:, 2]
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    left, top, right, bottom = int(low[0]), int(low[1]), int(high[0]), int(high[1])
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return (left, top, right, bottom) if right > left and bottom > top else None


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


def unmix(original: Pixels | Floats, finished: Pixels | Floats, mask: Floats) -> Floats:
    """Recover a face from the crops it was blended into, so that it can be blended anew.

    Args:
        original: The crops before, (...,S,S,3) 0..255.
        finished: The crops with the face, (...,S,S,3) 0..255.
        mask: (...,S,S) 0..1, with which `finished` was blended.

    Returns:
        The bare face, (...,S,S,3) 0..255; where the mask is low it fades into the original.
    """
    before = np.asarray(original, np.float32)
    face = np.asarray(finished - before, np.float32)
    face /= np.maximum(mask, np.float32(_LEAST))[..., None]
    face += before
    return np.clip(face, 0, 255, out=face)


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
    """Join tiles of `tile` to crops again.

    Args:
        parts: (Nkk,S,S,C).
        k: Tiles along a side.

    Returns:
        (N,kS,kS,C).
    """
    count, small, _, channels = parts.shape
    whole = parts.reshape(count // (k * k), k, k, small, small, channels).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(whole.reshape(-1, small * k, small * k, channels))
