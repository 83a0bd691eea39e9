"""Light and colour brought from one face picture to another."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def match_colour(
    picture: NDArray[np.floating],
    reference: NDArray[np.floating] | NDArray[np.uint8],
    core: Plane,
    relight: float,
    sigma: float,
) -> NDArray[np.float32]:
    """Give a picture the colour of a reference, and a share of its light.

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
    """Give pictures of one face in one place their mean hue; lightness stays.

    Video stores hue coarsely: a frame alone gives irises two colours.

    Args:
        pictures: (S, S, 3) RGB, 0..255.
        share: (S, S) 0..1, how far each pixel takes the mean.
    """
    lab = np.stack([_to_lab(picture) for picture in pictures])
    lab[..., 1:] += (lab[..., 1:].mean(0) - lab[..., 1:]) * share[..., None]
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_LAB2RGB) * 255, np.float32) for one in lab]


def _to_lab(picture: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
    unit = np.clip(picture.astype(np.float32), 0, 255) / 255
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32)
