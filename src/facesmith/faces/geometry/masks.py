"""Masks of a face drawn from its landmarks: where a swap may show, where colour is measured, eyes and mouth."""

import functools
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology

Plane = NDArray[np.float32]
Floats = NDArray[np.floating]

_MARGIN: Final = 32 / 128  # a face may reach past its crop: distances are measured on a wider canvas
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
def box_mask(size: int, blur: float, padding: tuple[float, float, float, float]) -> Plane:
    """Return the box mask of a crop: 0 at its border, 1 inside, with FaceFusion's proportions.

    Args:
        size: Side of the crop in px.
        blur: 0..1, of half the crop.
        padding: Top, right, bottom, left in % of the crop, kept out.

    Returns:
        (size, size), read-only.
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


def hull_mask(landmarks: Floats, size: int) -> Plane:
    """Return the mask (size, size) of the face's outline with a soft rim; landmarks: (478, 2+) px of the crop."""
    return soften_mask(draw_hull(landmarks[: topology.MESH], size))


def region_mask(landmarks: Floats, size: int, names: Sequence[str]) -> Plane:
    """Return the mask of named parts of the face with soft rims.

    Args:
        landmarks: (478, 2+) px of the crop.
        size: Side of the crop in px.
        names: Of REGION_NAMES.

    Returns:
        (size, size), the maximum of the parts.
    """
    whole = np.zeros((size, size), np.float32)
    for name in names:
        part = _parts(landmarks, size, name)
        if name == "skin":
            for hole in _HOLES:
                part = part * (1 - _parts(landmarks, size, hole))
        whole = np.maximum(whole, part)
    return soften_mask(whole)


def soften_mask(mask: Plane) -> Plane:
    """Blur a mask and keep its upper half, stretched, as FaceFusion does: what was under one half becomes 0.

    Its sigma of 5 px belongs to a crop of 256 px and grows with the crop.

    Args:
        mask: (S, S) 0..1.
    """
    blurred = cv2.GaussianBlur(np.clip(mask, 0, 1), (0, 0), _SOFT * mask.shape[0])
    return np.asarray((np.clip(blurred, 0.5, 1) - 0.5) * 2, np.float32)


def _parts(landmarks: Floats, size: int, name: str) -> Plane:
    parts, grow = _REGIONS[name]
    planes = [draw_hull(landmarks[part], size, grow * size) for part in parts]
    return np.asarray(np.max(planes, axis=0), np.float32)


def outline_mask(landmarks: NDArray[np.floating], size: int) -> Plane:
    """Return the face's outline as (size, size), 1 inside; landmarks: (478, 2+) px."""
    return draw_hull(landmarks[: topology.MESH], size)


def feathered_outline_mask(landmarks: NDArray[np.floating], size: int, rim: float = 1.0) -> Plane:
    """Return the outline with a rim that rises over 5/128 of the crop inside, over 10/128 above the brows.

    Args:
        landmarks: (478, 2+) px.
        size: Side of the crop in px.
        rim: Factor on the rim's width.
    """
    unit, margin = size / 128, round(_MARGIN * size)
    wide = np.zeros((size + 2 * margin,) * 2, np.uint8)
    outline = cv2.convexHull((landmarks[: topology.MESH, :2] + margin).astype(np.float32)).astype(np.int32)
    cv2.fillConvexPoly(wide, outline, 1)
    inside = cv2.distanceTransform(wide, cv2.DIST_L2, 5)[margin : margin + size, margin : margin + size]
    brows = landmarks[topology.BROWS, 1].mean()
    above = np.clip((brows - np.arange(size)) / (14 * unit), 0, 1)[:, None]
    rise = np.clip((inside - unit) / ((5 + 5 * above) * rim * unit), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def skin_mask(landmarks: NDArray[np.floating], size: int) -> Plane:
    """Return the skin that colour is measured on: the outline, eroded, without eyes and mouth; (size, size)."""
    unit = size / 128
    side = 2 * round(4 * unit) + 1
    core = cv2.erode(outline_mask(landmarks, size), np.ones((side, side)))
    for part, grow in ((topology.LEFT_EYE, 2), (topology.RIGHT_EYE, 2), (topology.MOUTH, 1)):
        core = core * (1 - draw_hull(landmarks[part], size, grow * unit))
    return core.astype(np.float32)


def eyes_and_mouth_masks(landmarks: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Return (2, size, size) 0..1: the eyes with their brows, and the mouth, with soft rims."""
    unit = size / 128
    eyes = [
        draw_hull(landmarks[part], size, 3 * unit, 2.5 * unit)
        for part in (topology.LEFT_EYE + topology.LEFT_BROW, topology.RIGHT_EYE + topology.RIGHT_BROW)
    ]
    mouth = draw_hull(landmarks[topology.MOUTH], size, 5 * unit, 2.5 * unit)
    return np.stack([np.maximum(*eyes), mouth])


def divide_face(landmarks: NDArray[np.floating], size: int) -> NDArray[np.bool_]:
    """Divide the face's outline into the regions that can be covered.

    Args:
        landmarks: (478, 2+) px of a face seen from the front.
        size: Side of the crop in px.

    Returns:
        (5, size, size) of `topology.REGIONS`; each pixel of the outline belongs to one.
    """
    unit = size / 128
    inside = outline_mask(landmarks, size) > 0.5
    eyes = eyes_and_mouth_masks(landmarks, size)[0] > 0.5
    mouth = draw_hull(landmarks[topology.MOUTH + topology.CHIN], size, 4 * unit) > 0.5
    nose = draw_hull(landmarks[topology.NOSE], size, 2 * unit) > 0.5
    above = np.arange(size)[:, None] < landmarks[topology.BROWS, 1].mean()
    free = inside
    parts = []
    for part in (eyes, mouth, nose, np.broadcast_to(above, inside.shape)):
        parts.append(part & free)
        free = free & ~part
    eyes, mouth, nose, forehead = parts
    return np.stack([eyes, nose, mouth, free, forehead])


def assign_landmarks(landmarks: NDArray[np.floating], size: int) -> NDArray[np.intp]:
    """Assign each landmark of a face seen from the front to the nearest of `topology.REGIONS`: (478,) their numbers.

    Args:
        landmarks: (478, 2+) px of the crop.
        size: Side of the crop in px.
    """
    away = [cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 5) for part in divide_face(landmarks, size)]
    x, y = np.clip(np.rint(landmarks[:, :2]), 0, size - 1).astype(np.intp).T
    return np.asarray(np.argmin(np.stack(away)[:, y, x], axis=0), np.intp)


def draw_hull(points: NDArray[np.floating], size: int, grow: float = 0, blur: float = 0) -> Plane:
    """Draw the convex hull of points.

    Args:
        points: (K, 2+) px.
        size: Side of the crop in px.
        grow: By how many px the hull is grown.
        blur: Sigma in px by which its rim is blurred.

    Returns:
        (size, size) 0..1.
    """
    plane: Any = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(plane, cv2.convexHull(points[:, :2].astype(np.float32)).astype(np.int32), 1.0)
    if grow:
        side = 2 * round(grow) + 1
        plane = cv2.dilate(plane, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    done: Plane = cv2.GaussianBlur(plane, (0, 0), blur) if blur else plane
    return done
