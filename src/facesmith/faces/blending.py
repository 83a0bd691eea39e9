"""Three ways to lay a face over a picture: by alpha, by its gradients, by bands of detail."""

from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

Floats = npt.NDArray[np.float32]
Blend = Literal["linear", "poisson", "multiband"]

_GRID: Final = 48  # px: the correction of `poisson` is smooth, so it is solved on a picture of this side
_INSIDE: Final = 0.5  # alpha from which `poisson` takes the face's gradients
_BANDS: Final = 5
_COARSEST: Final = 8  # px: side of the coarsest band at the least


def blend(below: Floats, face: Floats, alpha: Floats, how: Blend) -> Floats:
    """Lay `face` over `below`, both (H,W,3) RGB 0..255, where `alpha` (H,W) in 0..1 is above 0.

    linear: below + (face - below) alpha. poisson: the face's gradients with the colours of what surrounds it.
    multiband: fine detail changes over a short way, colour and light over a long one. Pixels whose alpha is 0
    stay as they are. Gives (H,W,3) float32.
    """
    if how == "poisson":
        face = face + _membrane(below - face, alpha)
    elif how == "multiband":
        face, alpha = _banded(below, face, alpha), np.clip(alpha * 4, 0, 1)
    return np.asarray(below + (face - below) * alpha[..., None], np.float32)


def _membrane(difference: Floats, alpha: Floats) -> Floats:
    """Give the smoothest correction (H,W,3) that equals `difference` wherever alpha is low.

    Adding it to the face is Poisson cloning (Perez, Gangnet, Blake 2003): the correction obeys Laplace's
    equation inside, and the picture's own border, where a face is cut, is free.
    """
    height, width = alpha.shape
    shrink = min(1.0, _GRID / max(height, width))
    size = (max(round(width * shrink), 3), max(round(height * shrink), 3))
    outside = (alpha < _INSIDE).astype(np.float32)
    weight = cv2.resize(outside, size, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(difference * outside[..., None], size, interpolation=cv2.INTER_AREA)
    known = weight > 1e-3
    if not known.any():
        return np.zeros_like(difference)
    coarse = np.asarray(summed / np.maximum(weight, 1e-3)[..., None], np.float32)
    inside = ~known
    if inside.any():
        coarse[inside] = _harmonic(coarse, inside)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(smooth + (difference - smooth) * _ring(outside)[..., None], np.float32)


def _ring(outside: Floats) -> Floats:
    """1 where alpha is low, falling to 0 a few pixels further in: there the fine grid takes over from the coarse."""
    reach = max(outside.shape) / _GRID
    return np.asarray(np.maximum(outside, cv2.GaussianBlur(outside, (0, 0), max(reach, 0.5))), np.float32)


def _harmonic(values: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Solve Laplace's equation for the pixels `inside` of (h,w,3), held at its other pixels: (n,3)."""
    rows, columns = np.nonzero(inside)
    number = np.full(inside.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    diagonal = np.zeros(len(rows))
    right = np.zeros((len(rows), values.shape[-1]))
    entries: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]] = []
    for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        y, x = rows + down, columns + across
        there = np.flatnonzero((y >= 0) & (y < inside.shape[0]) & (x >= 0) & (x < inside.shape[1]))
        diagonal[there] += 1
        neighbour = number[y[there], x[there]]
        free = neighbour >= 0
        entries.append((there[free], neighbour[free]))
        right[there[~free]] += values[y[there[~free]], x[there[~free]]]
    first, second = (np.concatenate(side) for side in zip(*entries, strict=True))
    each = np.arange(len(rows))
    data = np.concatenate([diagonal, -np.ones(len(first))])
    matrix = coo_array((data, (np.concatenate([each, first]), np.concatenate([each, second]))))
    return np.asarray(splu(matrix.tocsc()).solve(right), np.float32)


def _banded(below: Floats, face: Floats, alpha: Floats) -> Floats:
    """Blend band by band (Burt and Adelson 1983), each over its own width."""
    levels = max(min(_BANDS, int(np.log2(max(min(alpha.shape) / _COARSEST, 1)))), 0)
    picture, other, share = below, face, alpha
    bands: list[Floats] = []
    for _ in range(levels):
        size = (picture.shape[1], picture.shape[0])
        small, small_other = (np.asarray(cv2.pyrDown(each), np.float32) for each in (picture, other))
        detail = picture - cv2.pyrUp(small, dstsize=size)
        detail_other = other - cv2.pyrUp(small_other, dstsize=size)
        bands.append(np.asarray(detail + (detail_other - detail) * share[..., None], np.float32))
        picture, other, share = small, small_other, np.asarray(cv2.pyrDown(share), np.float32)
    result = np.asarray(picture + (other - picture) * share[..., None], np.float32)
    for band in reversed(bands):
        result = np.asarray(band + cv2.pyrUp(result, dstsize=(band.shape[1], band.shape[0])), np.float32)
    return result
