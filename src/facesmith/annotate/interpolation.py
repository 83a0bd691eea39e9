"""Masks between two painted frames: each follows the face, and one turns into the other."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.thin_plate import compute_warp_maps

Mask = NDArray[np.uint8]
Points = NDArray[np.floating]

_SMOOTHING: Final = 1e-4
_WORK: Final = 256  # px: maps are smooth, and enlarged


@dataclass(frozen=True)
class Painted:
    """A painted frame: mask and landmarks' outline (S,S) uint8 0 or 255, landmarks (478,3) px."""

    mask: Mask
    outline: Mask
    points: Points


def between(before: Painted, after: Painted, outline: Mask, points: Points, share: float) -> Mask:
    """Return the mask (S,S) uint8 0 or 255 of a frame that lies between two painted ones.

    outline, points: of that frame. share: 0..1, how far it is on the way. What covers the face (the outline less the
    mask), and what is painted beyond the outline, are moved as the mesh of landmarks moves, then each turns into its
    counterpart: on a straight way, and by blended signed distances (Raya and Udupa 1990), so that edges travel instead
    of fading.
    """
    covers = [_moved(one.outline & ~one.mask, one.points, points) for one in (before, after)]
    extras = [_moved(one.mask & ~one.outline, one.points, points) for one in (before, after)]
    return (outline & ~_turned(covers[0], covers[1], share)) | _turned(extras[0], extras[1], share)


def _turned(first: Mask, second: Mask, share: float) -> Mask:
    """Turn one shape into another; where there is none, shrink to nothing."""
    if first.any() and second.any():
        way = _middle(second) - _middle(first)
        first, second = _shifted(first, share * way), _shifted(second, (share - 1) * way)
    one, other = signed_distance(first), signed_distance(second)
    one, other = (
        d if m.any() else np.full_like(d, -max(float(e.max()), 1))
        for d, m, e in ((one, first, other), (other, second, one))
    )
    return np.where((1 - share) * one + share * other > 0, 255, 0).astype(np.uint8)


def _middle(mask: Mask) -> NDArray[np.float64]:
    return np.argwhere(mask > 127).mean(0)[::-1]


def _shifted(mask: Mask, way: NDArray[np.float64]) -> Mask:
    matrix = np.array([[1, 0, way[0]], [0, 1, way[1]]])
    return np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)


def _moved(mask: Mask, own: Points, at: Points) -> Mask:
    """Move a mask from a face with landmarks `own` (478,3) px to where the face is at `at`."""
    if not mask.any():
        return mask
    size = mask.shape[0]
    scale = _WORK / size
    where = compute_warp_maps(at * scale, (own * scale)[None], _WORK, smoothing=_SMOOTHING)[0]
    fine = cv2.resize((where + 0.5) / scale - 0.5, (size, size), interpolation=cv2.INTER_LINEAR)
    moved = cv2.remap(mask, fine[..., 0], fine[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(moved > 127, 255, 0).astype(np.uint8)


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Return the distance to the edge in px (S,S), positive inside; far away where there is no edge."""
    inside = (mask > 127).astype(np.uint8)
    if inside.all() or not inside.any():
        return np.full(mask.shape, mask.shape[0] if inside.any() else -mask.shape[0], np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    without = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(within - without, np.float32)
