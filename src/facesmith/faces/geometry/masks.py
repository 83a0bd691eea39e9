"""Masks that say where a swapped crop may show: box, hull, landmark regions; combined by their minimum."""

import functools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry import topology
from facesmith.faces.geometry.colour import filled

Plane = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

_SOFT: Final = 5 / 256  # sigma of the blur before the threshold, of the crop's side
_NOSE_BASE: Final = [98, 97, 2, 326, 327]
_LEFT_EAR, _RIGHT_EAR = 27, 9  # where the oval passes the cheekbones' height
_UPPER: Final = topology.OVAL[: _RIGHT_EAR + 1] + topology.OVAL[_LEFT_EAR:] + _NOSE_BASE
_LOWER: Final = topology.OVAL[_RIGHT_EAR : _LEFT_EAR + 1] + _NOSE_BASE
# name: parts, each drawn as its convex hull, and how far they reach beyond their points, of the crop's side
_REGIONS: Final[dict[str, tuple[list[list[int]], float]]] = {
    "mouth": ([topology.MOUTH], 4 / 128),
    "eyes": ([topology.LEFT_EYE, topology.RIGHT_EYE], 4 / 128),
    "brows": ([topology.LEFT_BROW, topology.RIGHT_BROW], 3 / 128),
    "nose": ([topology.NOSE], 3 / 128),
    "skin": ([topology.OVAL], 0.0),
    "upper_face": ([_UPPER], 0.0),
    "lower_face": ([_LOWER], 0.0),
}
REGION_NAMES: Final = tuple(_REGIONS)
_HOLES: Final = ("mouth", "eyes", "brows")  # what is not skin


@functools.lru_cache(maxsize=16)
def box(size: int, blur: float, padding: tuple[float, float, float, float]) -> Plane:
    """Return the box mask (size,size) of a crop: 0 at its border, 1 inside, by CONTRACTS A7.

    blur: 0..1, of half the crop. padding: top, right, bottom, left in % of the crop, kept out.
    """
    amount = int(size * 0.5 * blur)
    # one row at the least: a crop's own edge never shows
    top, right, bottom, left = (max(amount // 2, int(size * share / 100), 1) for share in padding)
    mask = np.zeros((size, size), np.float32)
    mask[top : size - bottom, left : size - right] = 1
    if amount:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), amount * 0.25), np.float32)
    mask.setflags(write=False)
    return mask


def hull(landmarks: Floats, size: int) -> Plane:
    """Return the mask (size,size) of the face's outline; landmarks: (478,2+) in px of the crop."""
    return soft(_drawn(landmarks[: topology.MESH], size))


def region(landmarks: Floats, size: int, names: Sequence[str]) -> Plane:
    """Return the mask (size,size) of named parts of the face, of REGION_NAMES; landmarks: (478,2+) in px."""
    whole = np.zeros((size, size), np.float32)
    for name in names:
        part = _parts(landmarks, size, name)
        if name == "skin":
            for hole in _HOLES:
                part = part * (1 - _parts(landmarks, size, hole))
        whole = np.maximum(whole, part)
    return soft(whole)


def soft(mask: Plane) -> Plane:
    """Blur a mask (S,S) in 0..1 and keep its upper half, stretched: by CONTRACTS A5.

    What was under one half becomes 0. The contract's sigma of 5 px belongs to its 256 px crop and grows with S.
    """
    blurred = cv2.GaussianBlur(np.clip(mask, 0, 1), (0, 0), _SOFT * mask.shape[0])
    return np.asarray((np.clip(blurred, 0.5, 1) - 0.5) * 2, np.float32)


def _parts(landmarks: Floats, size: int, name: str) -> Plane:
    parts, grow = _REGIONS[name]
    planes = [_drawn(landmarks[part], size, grow * size) for part in parts]
    return np.asarray(np.max(planes, axis=0), np.float32)


def _drawn(points: Floats, size: int, grow: float = 0) -> Plane:
    return filled(points, size, grow)
