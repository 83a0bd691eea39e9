"""Light and colour brought from one face picture to another."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

_LIGHT_SIGMA: Final = 1 / 24  # of the side: pores and blur are no contrast of light
_CONTRAST_CHANGE = 0.7, 1.4  # bounds of the change of contrast
_LEAST_SKIN: Final = 0.002  # of the crop: with less visible skin its colour cannot be measured


def match_colour(
    picture: NDArray[np.floating],
    reference: NDArray[np.floating] | NDArray[np.uint8],
    core: Plane,
    relight: float,
    sigma: float,
) -> NDArray[np.float32]:
    """Match a picture's colour, and a share of its light, to a reference.

    Mean and standard deviation of the LAB channels are matched on the core; then a share of the remaining difference is
    added, blurred inside the core.

    Args:
        picture: (S, S, 3) RGB, 0..255.
        reference: (S, S, 3) RGB, 0..255.
        core: (S, S) 0..1, the skin that colour is measured on.
        relight: Share of the remaining difference, 0..1.
        sigma: Blur of that difference in px.

    Returns:
        (S, S, 3) float32, 0..255.
    """
    a, b = _to_lab(picture), _to_lab(reference)
    inside = core > 0.5
    if not inside.any():
        return picture.astype(np.float32)
    for c, most in enumerate((1.5, 1.3, 1.3)):
        here, there = a[..., c][inside], b[..., c][inside]
        scale = np.clip(there.std() / max(here.std(), 1e-3), 0.6, most)
        a[..., c] = (a[..., c] - here.mean()) * scale + there.mean()
    if relight:
        weight = core + 1e-4
        light = cv2.GaussianBlur((b - a) * weight[..., None], (0, 0), sigma)
        a += relight * light / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    back: NDArray[np.float32] = np.clip(cv2.cvtColor(a, cv2.COLOR_LAB2RGB) * 255, 0, 255).astype(np.float32)
    return back


def equalise_light(
    pictures: Sequence[NDArray[np.floating]], core: Plane, share: float, sigma: float
) -> list[NDArray[np.float32]]:
    """Bring pictures of one face in one place to their common colour and light, so that they mix unseen.

    Args:
        pictures: (S, S, 3) RGB, 0..255.
        core: (S, S) 0..1, the skin that colour is measured on.
        share: As `relight` of `match_colour`.
        sigma: As of `match_colour`.
    """
    mean = np.mean(np.stack(pictures), 0)
    return [match_colour(picture, mean, core, share, sigma) for picture in pictures]


def equalise_hue(pictures: Sequence[NDArray[np.floating]], share: Plane) -> list[NDArray[np.float32]]:
    """Move the hue of aligned pictures of one face towards their mean; lightness stays.

    Video stores hue coarsely: a frame alone gives irises two colours.

    Args:
        pictures: (S, S, 3) RGB, 0..255.
        share: (S, S) 0..1, how far each pixel takes the mean.
    """
    lab = np.stack([_to_lab(picture) for picture in pictures])
    lab[..., 1:] += (lab[..., 1:].mean(0) - lab[..., 1:]) * share[..., None]
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_LAB2RGB) * 255, np.float32) for one in lab]


def match_skin_colour(face: Plane, target: Plane, skin: Plane) -> Plane:
    """Return the face with mean and spread of the target's skin in CIELAB (Reinhard et al. 2001).

    The spread is that of the blurred pictures: light, not detail. Histograms would carry over beards and shadows too.

    Args:
        face: (S,S,3) RGB, 0..255.
        target: (S,S,3) RGB, 0..255, aligned like the face.
        skin: (S,S) 0..1, where both show skin: eyes, mouth, hair and what covers the face have other colours in either.

    Returns:
        (S,S,3) RGB; the face itself where too little skin is visible.
    """
    total = float(skin.sum())
    if total < _LEAST_SKIN * skin.size:
        return face
    here, there = _to_lab(face), _to_lab(target)
    mean, wanted = ((lab * skin[..., None]).sum((0, 1)) / total for lab in (here, there))
    spread, spread_wanted = (_light_spread(lab, skin) for lab in (here, there))
    contrast = np.clip(spread_wanted / np.maximum(spread, 1e-3), *_CONTRAST_CHANGE)
    matched = np.asarray((here - mean) * contrast + wanted, np.float32)
    return np.asarray(np.clip(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB) * 255, 0, 255), np.float32)


def _light_spread(lab: Plane, skin: Plane) -> Plane:
    """Return the standard deviation (3,) of the light on the skin."""
    sigma = _LIGHT_SIGMA * skin.shape[0]
    weight = cv2.GaussianBlur(skin, (0, 0), sigma) + 1e-3
    blurred = cv2.GaussianBlur(lab * skin[..., None], (0, 0), sigma) / weight[..., None]
    share = (skin / skin.sum())[..., None]
    mean = (blurred * share).sum((0, 1))
    return np.asarray(np.sqrt((((blurred - mean) ** 2) * share).sum((0, 1))), np.float32)


def _to_lab(picture: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
    unit = np.clip(picture.astype(np.float32), 0, 255) / 255
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32)
