"""Interpolation of masks between two painted frames: each follows the face, and one morphs into the other."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.thin_plate import compute_warp_maps

Mask = NDArray[np.uint8]
Points = NDArray[np.floating]

_SMOOTHING: Final = 1e-4
_WORK: Final = 256  # px at which warps are computed: they are smooth, and enlarged


@dataclass(frozen=True)
class Keyframe:
    """A painted frame."""

    mask: Mask
    """(S,S) uint8, 0 or 255."""
    outline: Mask
    """Of the landmarks, (S,S) uint8, 0 or 255."""
    points: Points
    """Landmarks (478,3) in px."""


def interpolate_mask(before: Keyframe, after: Keyframe, outline: Mask, points: Points, share: float) -> Mask:
    """Interpolate the mask of a frame between two painted ones.

    Occluders (the outline less the mask) and what is painted beyond the outline are warped as the mesh of landmarks
    moves, then morphed into their counterparts: on a straight line, and by blended signed distances (Raya and Udupa
    1990), so that edges travel instead of fading.

    Args:
        before: The painted frame before it.
        after: The painted frame after it.
        outline: Of the frame's landmarks, (S,S) uint8, 0 or 255.
        points: The frame's landmarks, (478,3) in px.
        share: Its position between the two in time, 0..1.

    Returns:
        (S,S) uint8, 0 or 255.
    """
    occluders = [_warp(one.outline & ~one.mask, one.points, points) for one in (before, after)]
    extras = [_warp(one.mask & ~one.outline, one.points, points) for one in (before, after)]
    return (outline & ~_morph(occluders[0], occluders[1], share)) | _morph(extras[0], extras[1], share)


def _morph(first: Mask, second: Mask, share: float) -> Mask:
    """Morph one shape into another; a shape without a counterpart shrinks to nothing."""
    if first.any() and second.any():
        offset = _centroid(second) - _centroid(first)
        first, second = _shift(first, share * offset), _shift(second, (share - 1) * offset)
    one, other = signed_distance(first), signed_distance(second)
    one, other = (
        d if m.any() else np.full_like(d, -max(float(e.max()), 1))
        for d, m, e in ((one, first, other), (other, second, one))
    )
    return np.where((1 - share) * one + share * other > 0, 255, 0).astype(np.uint8)


def _centroid(mask: Mask) -> NDArray[np.float64]:
    return np.argwhere(mask > 127).mean(0)[::-1]


def _shift(mask: Mask, offset: NDArray[np.float64]) -> Mask:
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    return np.asarray(cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST), np.uint8)


def _warp(mask: Mask, source: Points, target: Points) -> Mask:
    """Warp a mask from a face with landmarks `source` (478,3) in px to one with landmarks `target`."""
    if not mask.any():
        return mask
    size = mask.shape[0]
    scale = _WORK / size
    coordinates = compute_warp_maps(target * scale, (source * scale)[None], _WORK, smoothing=_SMOOTHING)[0]
    fine = cv2.resize((coordinates + 0.5) / scale - 0.5, (size, size), interpolation=cv2.INTER_LINEAR)
    moved = cv2.remap(mask, fine[..., 0], fine[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(moved > 127, 255, 0).astype(np.uint8)


def signed_distance(mask: Mask) -> NDArray[np.float32]:
    """Compute the distance to the edge of a mask (S,S) in px, positive inside; S or -S where there is no edge."""
    inside = (mask > 127).astype(np.uint8)
    if inside.all() or not inside.any():
        return np.full(mask.shape, mask.shape[0] if inside.any() else -mask.shape[0], np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    without = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(within - without, np.float32)
