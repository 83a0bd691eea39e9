"""Bring a swapped face to the colour of the face it covers."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_SIGMA: Final = 1 / 24  # of the side: pores and blur are no contrast of light
_LEAST, _MOST = 0.7, 1.4  # bounds of the change of contrast
_ENOUGH: Final = 0.002  # of the crop: less skin in sight says nothing about its colour


def match_colour(face: Pixels, target: Pixels, skin: Floats) -> Pixels:
    """Give the face mean and spread of the target's skin in CIELAB (Reinhard et al. 2001).

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
    contrast = np.clip(spread_wanted / np.maximum(spread, 1e-3), _LEAST, _MOST)
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
