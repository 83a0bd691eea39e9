"""Canvases of the page's editor: what is shown on them, and what a person painted."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.annotate.interpolation import Mask
from facesmith.errors import UserError

Pixels = NDArray[np.uint8]

PAINT: Final = (0, 190, 255)
"""The colour (RGB) in which the visible face is painted."""
OPACITY: Final = 0.4
"""Of the paint, 0..1."""
LAYERS: Final = ("mask", "number")
"""The editor's layers: the paint, and one pixel whose colour is the number of the canvas."""

_ALPHA: Final = round(255 * OPACITY)
_REMEMBERED: Final = 64  # canvases; strokes arrive within seconds
_CORNER: Final = (0, 0)


class ChangedElsewhereError(UserError):
    """A face was reloaded in another window since this window showed it."""


class Edit(NamedTuple):
    """A mask that a person changed: the number of its face, and the mask (S,S) uint8."""

    row: int
    mask: Mask


class _ShownCanvas(NamedTuple):
    row: int
    mask: Mask


class CanvasRegistry:
    """The canvases that were shown, so that strokes are saved for the face they were painted on.

    The browser may send strokes after another face was opened, and half-loaded canvases too. So each canvas carries a
    number, on a layer above the paint that is loaded last: without it nothing is saved.
    """

    def __init__(self) -> None:
        self._shown: OrderedDict[int, _ShownCanvas] = OrderedDict()
        self._latest: dict[int, int] = {}
        self._number = 0

    def show(self, row: int, picture: Pixels, mask: Mask) -> dict[str, Any]:
        """Return the editor's value for a face.

        Args:
            row: Number of the face.
            picture: (S,S,3) RGB uint8.
            mask: (S,S) uint8, shown as paint.
        """
        self._number += 1
        self._shown[self._number] = _ShownCanvas(row, mask.copy())
        self._latest[row] = self._number
        if len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)
        number = np.zeros((*mask.shape, 4), np.uint8)
        number[_CORNER] = (self._number >> 16 & 255, self._number >> 8 & 255, self._number & 255, 255)
        return {"background": picture, "layers": [mask_to_layer(mask), number], "composite": None}

    def row(self, sent: dict[str, Any] | None) -> int | None:
        """Return the number of the face an editor shows; None while it is loading."""
        canvas = self._shown.get(_number(sent))
        return None if canvas is None else canvas.row

    def is_newest(self, sent: dict[str, Any] | None) -> bool:
        """Return whether an editor has loaded the canvas that was shown last."""
        return _number(sent) == self._number

    def read_edit(self, sent: dict[str, Any] | None) -> Edit | None:
        """Return what was painted since the canvas was shown or last saved; None when nothing was.

        Raises:
            ChangedElsewhereError: Another window reloaded the face meanwhile.
        """
        number = _number(sent)
        canvas = self._shown.get(number)
        if sent is None or canvas is None:
            return None
        mask = layer_to_mask(sent["layers"][0])
        if np.array_equal(mask, canvas.mask):
            return None
        if self._latest[canvas.row] != number:
            raise ChangedElsewhereError(
                "this face was changed in another window and has been reloaded: paint the stroke again"
            )
        return Edit(canvas.row, mask)

    def mark_saved(self, sent: dict[str, Any] | None, mask: Mask) -> None:
        """Record that a canvas's mask is on disk.

        Args:
            sent: The editor's value.
            mask: The saved mask, (S,S) uint8.
        """
        number = _number(sent)
        if number in self._shown:
            self._shown[number] = self._shown[number]._replace(mask=mask)


def mask_to_layer(mask: Mask) -> Pixels:
    """Convert a mask (S,S) uint8 to a layer of paint (S,S,4) RGBA uint8."""
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[mask > 127] = (*PAINT, _ALPHA)
    return layer


def layer_to_mask(layer: Pixels) -> Mask:
    """Convert a layer (S,S,4) RGBA uint8 to a mask (S,S) uint8, 255 where half a brush's paint or more is."""
    return np.where(layer[..., 3] > _ALPHA // 2, 255, 0).astype(np.uint8)


def css_paint() -> str:
    """Return the colour of the paint in CSS."""
    return f"rgba({PAINT[0]}, {PAINT[1]}, {PAINT[2]}, {OPACITY})"


def draw_outlines(picture: Pixels, masks: Sequence[tuple[Mask, tuple[int, int, int]]]) -> Pixels:
    """Draw the outlines of masks over a picture.

    Args:
        picture: (S,S,3) RGB uint8.
        masks: Masks (S,S) uint8, each with the RGB colour of its outline.

    Returns:
        A new picture, (S,S,3) RGB uint8.
    """
    drawn = picture.copy()
    for mask, colour in masks:
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1, cv2.LINE_AA)
    return drawn


def cut_out(picture: Pixels, mask: Mask) -> Pixels:
    """Darken a picture outside a mask.

    Args:
        picture: (S,S,3) RGB uint8.
        mask: (S,S) uint8.
    """
    return np.where(mask[..., None] > 127, picture, (picture * 0.18).astype(np.uint8))


def _number(sent: dict[str, Any] | None) -> int:
    """Return the number of a canvas; 0, which none has, when it is incomplete."""
    layers = (sent or {}).get("layers") or []
    if len(layers) != len(LAYERS):
        return 0
    red, green, blue, alpha = (int(v) for v in layers[-1][_CORNER])
    return red << 16 | green << 8 | blue if alpha == 255 else 0
