"""Blend a face into a picture: by alpha, by its gradients, or by bands of detail."""

import functools
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, dia_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu

Floats = npt.NDArray[np.float32]
Blend = Literal["linear", "poisson", "multiband"]

_GRID: Final = 32  # px: the correction of `poisson` is smooth, so it is solved on a picture of this side
_SEAM: Final = 0.08  # of the face's side: width of the seam, inside the mask, where face and target are compared
_INSIDE: Final = 0.3  # alpha from which a pixel shows enough of the face to be compared
_SIMILAR: Final = 30.0  # levels off the seam's median: what differs by much more is hair or background, not skin
_PULL: Final = 1e-4  # pull of the correction to that median, per cell: what holds it where no seam is near
_BANDS: Final = 5
_COARSEST: Final = 8  # px: side of the coarsest band at the least


def blend(below: Floats, face: Floats, alpha: Floats, how: Blend) -> Floats:
    """Blend a face into a picture.

    Args:
        below: The picture, (H,W,3) RGB 0..255.
        face: Aligned with it, (H,W,3) RGB 0..255.
        alpha: Share of the face, (H,W) 0..1; pixels where it is 0 stay as they are.
        how: `linear`: below + (face - below) alpha. `poisson`: the face's gradients in the light of the skin around
            it. `multiband`: fine detail changes over a short distance, colour and light over a long one.

    Returns:
        (H,W,3) float32, 0..255.
    """
    if how == "poisson":
        face = face + _poisson_correction(below - face, alpha)
    elif how == "multiband":
        face, alpha = _blend_bands(below, face, alpha), np.clip(alpha * 4, 0, 1)
    return np.asarray(below + (face - below) * alpha[..., None], np.float32)


def _poisson_correction(difference: Floats, alpha: Floats) -> Floats:
    """Return the smoothest correction (H,W,3) that equals `difference` along the seam.

    Adding it to the face is Poisson cloning (Perez, Gangnet, Blake 2003), with two changes: the seam counts as
    far as it differs like most of it, or hair over a forehead would darken the face, and the picture's border,
    where a face is cut, is free.
    """
    height, width = alpha.shape
    shrink = min(1.0, _GRID / max(height, width))
    size = (max(round(width * shrink), 2), max(round(height * shrink), 2))
    inside = (alpha > _INSIDE).astype(np.uint8)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)
    seam = (depth[1:-1, 1:-1] > 0) & (depth[1:-1, 1:-1] < max(_SEAM * np.sqrt(inside.sum()), 2))
    if not seam.any():
        return np.zeros_like(difference)
    usual = np.median(difference[seam], axis=0)
    unusual = difference - usual
    trust = seam * np.exp(-((np.linalg.norm(unusual, axis=-1) / _SIMILAR) ** 2)).astype(np.float32)
    weight = np.asarray(cv2.resize(trust, size, interpolation=cv2.INTER_AREA), np.float64)
    pull = cv2.resize(unusual * trust[..., None], size, interpolation=cv2.INTER_AREA)
    weight, pull = weight / shrink**2, np.asarray(pull, np.float64) / shrink**2
    system = _laplacian(size[1], size[0]) + dia_array((weight.ravel()[None] + _PULL, [0]), shape=(weight.size,) * 2)
    solved = splu(system.tocsc()).solve(pull.reshape(-1, 3)).reshape(*weight.shape, 3)
    smooth = cv2.resize(solved.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth + usual, np.float32)


@functools.lru_cache(maxsize=64)
def _laplacian(height: int, width: int) -> csc_array:
    """Return the sum of squared differences between neighbours of a grid, as a matrix."""
    line = [diags_array(_second_differences(count), offsets=[-1, 0, 1]) for count in (height, width)]
    return csc_array(kron(line[0], eye_array(width)) + kron(eye_array(height), line[1]))


def _second_differences(count: int) -> list[npt.NDArray[np.float64]]:
    """Return the three diagonals of the squared differences along a line with free ends."""
    middle = np.full(count, 2.0)
    middle[[0, -1]] = 1.0
    return [-np.ones(count - 1), middle, -np.ones(count - 1)]


def _blend_bands(below: Floats, face: Floats, alpha: Floats) -> Floats:
    """Blend band by band (Burt and Adelson 1983), each over its own distance."""
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
