"""Faces and their masks side by side."""

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_TITLE: Final = 24
_GAP: Final = 4
_HIDDEN: Final = np.array([220, 40, 90], np.float32)


def mask_grid(pictures: NDArray[np.float32], masks: Mapping[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Lay pictures (N,S,S,3) RGB 0..1 beside named masks (N,S,S) 0..1, drawn over them: (H,W,3) RGB uint8.

    What a mask leaves out is dimmed and tinted red, so that errors show at a glance.
    """
    count, side = pictures.shape[:2]
    wide = side + _GAP
    grid = np.full((_TITLE + count * wide, (1 + len(masks)) * wide, 3), 24, np.uint8)
    for column, title in enumerate(("picture", *masks)):
        place = (column * wide + 2, 16)
        cv2.putText(grid, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
        for row, picture in enumerate(pictures):
            shown = picture * 255 if column == 0 else overlay(picture * 255, masks[title][row])
            top, left = _TITLE + row * wide, column * wide
            grid[top : top + side, left : left + side] = np.clip(np.rint(shown), 0, 255)
    return grid


def family_sheet(
    families: Mapping[str, Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]]],
) -> NDArray[np.uint8]:
    """Lay out examples of each family, a row each: pictures (S,S,3) RGB, each beside its mask (S,S) 0..1 over it."""
    rows = []
    for name, examples in families.items():
        cells = [one for picture, mask in examples for one in (picture, overlay(picture.astype(np.float32), mask))]
        padded = [np.pad(cell, ((_TITLE, _GAP), (0, _GAP), (0, 0))) for cell in cells]
        row = np.asarray(np.clip(np.rint(np.concatenate(padded, axis=1)), 0, 255), np.uint8)
        cv2.putText(row, name, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA)
        rows.append(row)
    return np.concatenate(rows)


def overlay(picture: NDArray[np.floating], mask: NDArray[np.floating]) -> NDArray[np.float32]:
    """Show a mask (S,S) 0..1 over a picture (S,S,3) 0..255: what it leaves out is dimmed and red."""
    kept = mask[..., None]
    return np.asarray(picture * kept + (0.45 * picture + 0.35 * _HIDDEN) * (1 - kept), np.float32)
