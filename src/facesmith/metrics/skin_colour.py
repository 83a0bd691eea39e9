"""How far the colour of a swapped face's skin is from that of the face and the neck it was put on."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from facesmith.faces.geometry import masks

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Plane = NDArray[np.float32]

_SIDE: Final = 64  # px at which colours are compared: pores and noise are no cast
_LIGHT_SIGMA: Final = 1.5  # px of those
_LIGHT: Final = 3.0  # by how much differences of lightness count less, where they are not what is asked
_PATCH: Final = 0.9  # quantile of the skin: a cast on a tenth of it shows
_RIM: Final = 2  # px of those; what is nearer to the mask is blended
_SKIN_LIKE: Final = 15.0  # Delta E to the target's own skin, beyond it: hair, cloth or background
_LEAST: Final = 40  # px of those


@dataclass(frozen=True)
class ColourError:
    """Colour differences by Delta E 2000; nan where too little skin is visible.

    Attributes:
        face: Of the median colours of the swapped face's skin and the target's own.
        patches: 90 % quantile over the skin of the difference of hue and chroma; lightness counts a third.
        around: Of the median of the swapped face's skin and that of the skin that stays outside the mask, of neck and
            forehead; lightness counts a third. Necks differ from faces: compare with the target's own.
    """

    face: float
    patches: float
    around: float


def colour_error(swapped: Pixels, target: Pixels, landmarks: Floats, mask: NDArray[np.floating]) -> ColourError:
    """Compare a swapped face's skin with the target's, in CIELAB.

    Args:
        swapped: (S,S,3) RGB, the composite.
        target: (S,S,3) RGB, the same crop before.
        landmarks: (478,2+) px, the target's.
        mask: (S,S) 0..1, where the swap shows.
    """
    unit = _SIDE / len(target)
    covered = _shrink(mask.astype(np.float32)) > 0.5
    skin = (masks.skin_mask((landmarks[:, :2] + 0.5) * unit - 0.5, _SIDE) > 0.5) & covered
    if skin.sum() < _LEAST:
        return ColourError(float("nan"), float("nan"), float("nan"))
    ours, theirs = _to_lab(swapped), _to_lab(target)
    here, there = np.median(ours[skin], 0), np.median(theirs[skin], 0)
    local = deltaE_ciede2000(_even(ours, skin)[skin], _even(theirs, skin)[skin], kL=_LIGHT)
    near = cv2.dilate(covered.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8)) > 0
    apart = (theirs - there) / np.array([_LIGHT, 1, 1])
    outside = ~near & (np.linalg.norm(apart, axis=-1) < _SKIN_LIKE)
    around = float("nan")
    if outside.sum() >= _LEAST:
        around = float(deltaE_ciede2000(here, np.median(theirs[outside], 0), kL=_LIGHT))
    return ColourError(float(deltaE_ciede2000(here, there)), float(np.quantile(local, _PATCH)), around)


def _shrink(plane: Plane) -> Plane:
    return np.asarray(cv2.resize(plane, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)


def _to_lab(picture: Pixels) -> Plane:
    return np.asarray(cv2.cvtColor(_shrink(picture.astype(np.float32)) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _even(plane: Plane, inside: NDArray[np.bool_]) -> Plane:
    """Blur (S,S,C) within a mask (S,S)."""
    weight = inside.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), _LIGHT_SIGMA) + 1e-4
    return np.asarray(cv2.GaussianBlur(plane * weight[..., None], (0, 0), _LIGHT_SIGMA) / total[..., None], np.float32)
