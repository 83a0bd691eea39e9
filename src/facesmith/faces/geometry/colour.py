"""Face regions as pictures, and light and colour brought from one face to another."""

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology

Plane = NDArray[np.float32]
_MARGIN: Final = 32 / 128  # a face may reach past its crop: distances are measured on a wider canvas


def filled(points: NDArray[np.floating], size: int, grow: float = 0, blur: float = 0) -> Plane:
    """Draw the convex hull of points (k,2+) in px as (size,size) float32 0..1, grown and blurred by px."""
    plane: Any = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(plane, cv2.convexHull(points[:, :2].astype(np.float32)).astype(np.int32), 1.0)
    if grow:
        side = 2 * round(grow) + 1
        plane = cv2.dilate(plane, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    done: Plane = cv2.GaussianBlur(plane, (0, 0), blur) if blur else plane
    return done


def hull(landmarks: NDArray[np.floating], size: int) -> Plane:
    """Return the face's outline (478,2+) in px as (size,size) float32, 1 inside."""
    return filled(landmarks[: topology.MESH], size)


def soft_hull(landmarks: NDArray[np.floating], size: int) -> Plane:
    """Return the hull with a rim that rises over 5/128 of the crop inside, over 10/128 above the brows."""
    unit, margin = size / 128, round(_MARGIN * size)
    wide = np.zeros((size + 2 * margin,) * 2, np.uint8)
    outline = cv2.convexHull((landmarks[: topology.MESH, :2] + margin).astype(np.float32)).astype(np.int32)
    cv2.fillConvexPoly(wide, outline, 1)
    inside = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[margin : margin + size, margin : margin + size]
    brows = landmarks[topology.BROWS, 1].mean()
    above = np.clip((brows - np.arange(size)) / (14 * unit), 0, 1)[:, None]
    rise = np.clip((inside - unit) / ((5 + 5 * above) * unit), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def skin_core(landmarks: NDArray[np.floating], size: int) -> Plane:
    """Return the skin that colour is measured on: the hull, eroded, without eyes and mouth; (size,size)."""
    unit = size / 128
    side = 2 * round(4 * unit) + 1
    core = cv2.erode(hull(landmarks, size), np.ones((side, side)))
    for part, grow in ((topology.LEFT_EYE, 2), (topology.RIGHT_EYE, 2), (topology.MOUTH, 1)):
        core = core * (1 - filled(landmarks[part], size, grow * unit))
    return core.astype(np.float32)


def regions(landmarks: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Return (2,size,size) float32 in 0..1: the eyes with their brows, and the mouth, with soft rims."""
    unit = size / 128
    eyes = [
        filled(landmarks[part], size, 3 * unit, 2.5 * unit)
        for part in (topology.LEFT_EYE + topology.LEFT_BROW, topology.RIGHT_EYE + topology.RIGHT_BROW)
    ]
    mouth = filled(landmarks[topology.MOUTH], size, 5 * unit, 2.5 * unit)
    return np.stack([np.maximum(*eyes), mouth])


def match(
    picture: NDArray[np.floating],
    reference: NDArray[np.floating] | NDArray[np.uint8],
    core: Plane,
    relight: float,
    sigma: float,
) -> NDArray[np.float32]:
    """Return a picture the colour of a reference, and a share of its light.

    Mean and spread of the LAB channels are matched on the core; then `relight` (0..1) of the remaining
    difference, blurred by `sigma` px inside the core, is added. picture, reference: (S,S,3) RGB 0..255.
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


def even_light(
    pictures: Sequence[NDArray[np.floating]], core: Plane, share: float, sigma: float
) -> list[NDArray[np.float32]]:
    """Bring pictures of one face in one place to their common colour and light, so that they mix unseen.

    pictures: (S,S,3) RGB 0..255. share, sigma: as `relight` and `sigma` of `match`.
    """
    mean = np.mean(np.stack(pictures), 0)
    return [match(picture, mean, core, share, sigma) for picture in pictures]


def common_hue(pictures: Sequence[NDArray[np.floating]], share: Plane) -> list[NDArray[np.float32]]:
    """Return pictures of one face in one place their mean hue, by `share` (S,S) 0..1; lightness stays.

    Video stores hue coarsely: a frame alone gives irises two colours. pictures: (S,S,3) RGB 0..255.
    """
    lab = np.stack([_to_lab(picture) for picture in pictures])
    lab[..., 1:] += (lab[..., 1:].mean(0) - lab[..., 1:]) * share[..., None]
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_LAB2RGB) * 255, np.float32) for one in lab]


def _to_lab(picture: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
    unit = np.clip(picture.astype(np.float32), 0, 255) / 255
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32)
