"""How sharp a face is, and the edges that a composite adds along its rim."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.measures import laplacian_variance

Pixels = NDArray[np.uint8]

_RIM: Final = 13 / 128  # the mask is eroded by this window before sharpness is measured
_FADE: Final = 9 / 128  # a composite fades out within this of the mask's rim, inwards
_BEYOND: Final = 2 / 128
_CHANGED: Final = 6  # levels of 255, above what JPEG does to a picture
_CLOSED: Final = 6 / 128  # gaps within what was changed, by the crop


def sharpness(picture: Pixels, inside: NDArray[np.floating]) -> float:
    """Compute the variance of the Laplacian of the lightness well inside a face.

    Args:
        picture: (S,S,3) RGB.
        inside: (S,S) 0..1.

    Returns:
        Grey levels squared; 0 when nothing is inside.
    """
    side = 2 * round(_RIM * picture.shape[0] / 2) + 1
    kept = cv2.erode(np.asarray(inside, np.float32), np.ones((side, side))) > 0.5
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return laplacian_variance(grey, kept)


def seam(target: Pixels, composite: Pixels, mask: Pixels) -> float:
    """Compute how steep the edges are that a composite adds along its rim.

    Args:
        target: (S,S,3) uint8 RGB.
        composite: (S,S,3) uint8 RGB.
        mask: (S,S) uint8, what the composite was made with.

    Returns:
        Levels of 255 a px, at 128 px: root of the mean square of the lightness's slope beyond the steepest the target
        had nearby, along the mask's rim and the feathered way inwards. 0 where the mask is empty.
    """
    size = len(mask)
    inside = (mask > 127).astype(np.uint8)
    inner, outer = (np.ones((2 * max(1, round(px * size)) + 1,) * 2, np.uint8) for px in (_FADE, _BEYOND))
    ring = (cv2.dilate(inside, outer) - cv2.erode(inside, inner, borderValue=0)) > 0
    if not ring.any():
        return 0.0
    added = np.clip(_slope(composite) - cv2.dilate(_slope(target), outer), 0, None)
    return float(np.sqrt(np.square(added[ring]).mean()) * size / 128)


def _slope(picture: Pixels) -> NDArray[np.float32]:
    # floats: a blur of bytes is rounded to whole levels, and so are the edges
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    down, across = np.gradient(cv2.GaussianBlur(grey, (0, 0), len(picture) / 128))
    return np.hypot(down, across).astype(np.float32)


def find_changed(target: Pixels, composite: Pixels) -> Pixels:
    """Find where a composite of an unknown tool differs from its target, as one area without holes.

    Args:
        target: (S,S,3) RGB.
        composite: (S,S,3) RGB.

    Returns:
        (S,S) 0 or 255. What a codec changes does not count.
    """
    size = len(target)
    apart = np.abs(composite.astype(np.float32) - target.astype(np.float32)).max(-1)
    changed = (cv2.GaussianBlur(apart, (0, 0), size / 128) > _CHANGED).astype(np.uint8)
    side = 2 * round(_CLOSED * size) + 1
    changed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    outlines, _ = cv2.findContours(changed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = np.zeros((size, size), np.uint8)
    if outlines:
        cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], -1, 255, cv2.FILLED)
    return mask
