"""Pictures for inspection: grids with titles, mask overlays, shortened text."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

TITLE_HEIGHT: Final = 24
"""Height of the strip above a grid, in px."""
GAP: Final = 4
"""Space right of and below each picture of a grid, in px."""
SHOWN_HEIGHT: Final = 432
"""Height in px to which small pictures are enlarged side by side."""
_BACKGROUND: Final = 24
_TITLE_COLOUR: Final = (230, 230, 230)
_HIDDEN_TINT: Final = np.array([220, 40, 90], np.float32)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def image_grid(columns: Sequence[NDArray[np.uint8]], titles: Sequence[str]) -> NDArray[np.uint8]:
    """Draw pictures side by side below a strip of titles.

    Args:
        columns: Pictures of each column from top to bottom, each (N,S,S,3) uint8, all of one shape and colour order.
        titles: Of the columns from left to right; there may be fewer titles than columns.

    Returns:
        (H,W,3) uint8 in the colour order of the pictures.
    """
    count, side = columns[0].shape[:2]
    step = side + GAP
    grid = np.full((TITLE_HEIGHT + count * step, len(columns) * step, 3), _BACKGROUND, np.uint8)
    for column, title in enumerate(titles):
        origin = (column * step + 2, 16)
        cv2.putText(grid, title, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _TITLE_COLOUR, 1, cv2.LINE_AA)
    for column, pictures in enumerate(columns):
        for row, picture in enumerate(pictures):
            top, left = TITLE_HEIGHT + row * step, column * step
            grid[top : top + side, left : left + side] = picture
    return grid


def side_by_side(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put two pictures beside each other, enlarged by a whole factor where they are small.

    Args:
        before: The left one, (H,W,3) uint8.
        after: The right one, of the same shape and colour order.

    Returns:
        (k*H,2*k*W,3) uint8, k such that the height comes near SHOWN_HEIGHT, and at least 1.
    """
    pair = np.hstack([before, after])
    factor = max(1, round(SHOWN_HEIGHT / pair.shape[0]))
    if factor == 1:
        return pair
    return np.asarray(cv2.resize(pair, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def overlay_mask(picture: NDArray[np.uint8], mask: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Dim a picture and tint it red where a mask is 0.

    Args:
        picture: (H,W,3) RGB uint8.
        mask: (H,W) in 0..1; at 1 the picture stays as it is.

    Returns:
        (H,W,3) RGB uint8.
    """
    visible, floats = mask[..., None], picture.astype(np.float32)
    blended = floats * visible + (0.45 * floats + 0.35 * _HIDDEN_TINT) * (1 - visible)
    return np.asarray(np.clip(np.rint(blended), 0, 255), np.uint8)


def shorten_text(text: str, font: Font, width: int) -> str:
    """Cut a text off, with three dots at its end, where it is too wide.

    Args:
        text: One line.
        font: In which it is drawn.
        width: Px that it may take.
    """
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
