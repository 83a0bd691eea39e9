"""Three ways to lay a face over a picture: by alpha, by its gradients, by bands of detail."""

import functools
import math
from typing import Final, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, dia_array, diags_array, eye_array, kron
from scipy.sparse.linalg import splu

from facesmith.faces.geometry.alignment import invert_transform, transform_scale

Floats = npt.NDArray[np.float32]
Blend = Literal["linear", "poisson", "multiband"]

_GRID: Final = 32  # px: the correction of `poisson` is smooth, so it is solved on a picture of this side
_SEAM: Final = 0.08  # of the face's side: width of the seam, inside the mask, where face and target are compared
_INSIDE: Final = 0.3  # alpha from which a pixel shows enough of the face to be compared
_ALIKE: Final = 30.0  # levels off the seam's median: what differs by much more is hair or background, not skin
_REST: Final = 1e-4  # pull of the correction to that median, per cell: what holds it where no seam is near
_BANDS: Final = 5
_COARSEST: Final = 8  # px: side of the coarsest band at the least


def blend(below: Floats, face: Floats, alpha: Floats, how: Blend) -> Floats:
    """Lay `face` over `below`, both (H,W,3) RGB 0..255, where `alpha` (H,W) in 0..1 is above 0.

    linear: below + (face - below) alpha. poisson: the face's gradients, with the light of the skin around it.
    multiband: fine detail changes over a short way, colour and light over a long one. Pixels whose alpha is 0
    stay as they are. Gives (H,W,3) float32.
    """
    if how == "poisson":
        face = face + _membrane(below - face, alpha)
    elif how == "multiband":
        face, alpha = _banded(below, face, alpha), np.clip(alpha * 4, 0, 1)
    return np.asarray(below + (face - below) * alpha[..., None], np.float32)


def _membrane(difference: Floats, alpha: Floats) -> Floats:
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
    trust = seam * np.exp(-((np.linalg.norm(unusual, axis=-1) / _ALIKE) ** 2)).astype(np.float32)
    weight = np.asarray(cv2.resize(trust, size, interpolation=cv2.INTER_AREA), np.float64)
    pull = cv2.resize(unusual * trust[..., None], size, interpolation=cv2.INTER_AREA)
    weight, pull = weight / shrink**2, np.asarray(pull, np.float64) / shrink**2
    system = _laplacian(size[1], size[0]) + dia_array((weight.ravel()[None] + _REST, [0]), shape=(weight.size,) * 2)
    solved = splu(system.tocsc()).solve(pull.reshape(-1, 3)).reshape(*weight.shape, 3)
    smooth = cv2.resize(solved.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth + usual, np.float32)


@functools.lru_cache(maxsize=64)
def _laplacian(height: int, width: int) -> csc_array:
    """Sum of squared differences between neighbours of a grid, as a matrix."""
    line = [diags_array(_second(count), offsets=[-1, 0, 1]) for count in (height, width)]
    return csc_array(kron(line[0], eye_array(width)) + kron(eye_array(height), line[1]))


def _second(count: int) -> list[npt.NDArray[np.float64]]:
    """The three diagonals of the squared differences along a line with free ends."""
    middle = np.full(count, 2.0)
    middle[[0, -1]] = 1.0
    return [-np.ones(count - 1), middle, -np.ones(count - 1)]


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


Pixels = npt.NDArray[np.uint8]
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
    """Return a copy of the frame with the face laid over it, as `lay` does."""
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
    """Left, top, right, bottom of the crop in the frame, cut at the frame's border."""
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
    """(S, S): 0 at the crop's rim, 1 from _RIM inwards, smooth between."""
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / max(size * _RIM, 1)
    ramp = np.clip(inside, 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    rim = np.minimum.outer(ramp, ramp).astype(np.float32)
    rim.setflags(write=False)
    return rim


_SIGMA: Final = 1 / 24  # of the side: pores and blur are no contrast of light
_COLOUR_MATCH_LEAST, _MOST = 0.7, 1.4  # bounds of the change of contrast
_ENOUGH: Final = 0.002  # of the crop: less skin in sight says nothing about its colour


def match_colour(face: Pixels, target: Pixels, skin: Floats) -> Pixels:
    """Return the face mean and spread of the target's skin in CIELAB (Reinhard et al. 2001).

    face, target: (S,S,3) RGB uint8, aligned alike. skin: (S,S) in 0..1, where both show skin: eyes, mouth, hair
    and what covers the face have other colours in either. Spread is that of the blurred pictures: light, not
    detail. Histograms would carry over beards and shadows as well. Without skin in sight the face stays as it is.
    """
    total = float(skin.sum())
    if total < _ENOUGH * skin.size:
        return face
    here, there = _lab(face), _lab(target)
    mean, wanted = ((lab * skin[..., None]).sum((0, 1)) / total for lab in (here, there))
    spread, spread_wanted = (_spread(lab, skin) for lab in (here, there))
    contrast = np.clip(spread_wanted / np.maximum(spread, 1e-3), _COLOUR_MATCH_LEAST, _MOST)
    matched = np.asarray((here - mean) * contrast + wanted, np.float32)
    return np.clip(np.rint(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)


def _lab(picture: Pixels) -> Floats:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def _spread(lab: Floats, skin: Floats) -> Floats:
    """Standard deviation (3,) of the light on the skin."""
    sigma = _SIGMA * skin.shape[0]
    weight = cv2.GaussianBlur(skin, (0, 0), sigma) + 1e-3
    blurred = cv2.GaussianBlur(lab * skin[..., None], (0, 0), sigma) / weight[..., None]
    share = (skin / skin.sum())[..., None]
    mean = (blurred * share).sum((0, 1))
    return np.asarray(np.sqrt((((blurred - mean) ** 2) * share).sum((0, 1))), np.float32)


Scalar = TypeVar("Scalar", bound=np.generic)


def split(crops: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Return (N k k, S, S, C) of crops (N, k S, k S, C): picture (i,j) of each holds its pixels [i::k, j::k]."""
    n, side, _, channels = crops.shape
    small = side // k
    parts = crops.reshape(n, small, k, small, k, channels).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts.reshape(n * k * k, small, small, channels))


def join(parts: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    """Undo `split`: (N, k S, k S, C) of (N k k, S, S, C)."""
    count, small, _, channels = parts.shape
    whole = parts.reshape(count // (k * k), k, k, small, small, channels).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(whole.reshape(-1, small * k, small * k, channels))
