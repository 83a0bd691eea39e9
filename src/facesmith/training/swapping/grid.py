"""Pictures side by side, with titles."""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_TITLE_HEIGHT: Final = 24
_GAP: Final = 4


def titled_grid(columns: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """Draw pictures side by side: a column a title, a row a picture.

    Args:
        columns: (N,3,S,S) RGB -1..1 by title, all of one shape.

    Returns:
        (H,W,3) RGB uint8.
    """
    stacks = [to_bytes(pictures) for pictures in columns.values()]
    count, size = stacks[0].shape[:2]
    wide = _GAP + size
    grid = np.full((_TITLE_HEIGHT + count * wide, len(stacks) * wide, 3), 24, np.uint8)
    for column, (title, pictures) in enumerate(zip(columns, stacks, strict=True)):
        left = column * wide
        cv2.putText(grid, title, (left + 2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
        for row, picture in enumerate(pictures):
            top = _TITLE_HEIGHT + row * wide
            grid[top : top + size, left : left + size] = picture
    return grid


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Convert pictures (N,C,S,S) -1..1 to (N,S,S,C) uint8."""
    scaled = pictures.detach().float().add(1).mul(127.5).round().clamp(0, 255).byte()
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
