"""What is laid on the page's editor, and what a person made of it."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.annotate.masks import Mask
from facesmith.errors import UserError

Pixels = NDArray[np.uint8]

PAINT: Final = (0, 190, 255)
"""The colour (RGB) in which the visible face is painted."""
OPACITY: Final = 0.4
"""How much of the paint shows."""
LAYERS: Final = ("mask", "number")
"""The editor's layers: what is painted on, and one pixel whose colour is the number of the showing."""

_THROUGH: Final = round(255 * OPACITY)
_SHOWINGS: Final = 64  # that are remembered; strokes arrive within seconds
_CORNER: Final = (0, 0)


class ChangedElsewhereError(UserError):
    """A face was shown anew since it was shown in this window."""


class Drawn(NamedTuple):
    """A mask (S,S) uint8 that a person changed, and the number of its face."""

    row: int
    mask: Mask


class _Showing(NamedTuple):
    row: int
    mask: Mask


class Canvases:
    """The canvases that were shown, so that what comes back is kept for the face it was painted on.

    The browser sends strokes when it has packed them, perhaps after another face was turned to, and half-loaded
    canvases too. So each canvas bears a number, on a layer above the paint that is loaded last: without it nothing is
    kept.
    """

    def __init__(self) -> None:
        self._shown: OrderedDict[int, _Showing] = OrderedDict()
        self._latest: dict[int, int] = {}
        self._number = 0

    def show(self, row: int, picture: Pixels, mask: Mask) -> dict[str, Any]:
        """Return an editor's value: a face's picture (S,S,3) RGB, its mask (S,S) uint8 as paint, and the number."""
        self._number += 1
        self._shown[self._number] = _Showing(row, mask.copy())
        self._latest[row] = self._number
        if len(self._shown) > _SHOWINGS:
            self._shown.popitem(last=False)
        number = np.zeros((*mask.shape, 4), np.uint8)
        number[_CORNER] = (self._number >> 16 & 255, self._number >> 8 & 255, self._number & 255, 255)
        return {"background": picture, "layers": [paint(mask), number], "composite": None}

    def row(self, sent: dict[str, Any] | None) -> int | None:
        """Say which face an editor shows; None while it is loading."""
        showing = self._shown.get(_number(sent))
        return None if showing is None else showing.row

    def is_newest(self, sent: dict[str, Any] | None) -> bool:
        """Tell whether an editor has loaded what was shown last."""
        return _number(sent) == self._number

    def take(self, sent: dict[str, Any] | None) -> Drawn | None:
        """Return what was painted since the canvas was shown or last taken; None when nothing was.

        Raises:
            ChangedElsewhereError: the face was shown anew meanwhile, in another window.
        """
        number = _number(sent)
        showing = self._shown.get(number)
        if sent is None or showing is None:
            return None
        mask = mask_of(sent["layers"][0])
        if np.array_equal(mask, showing.mask):
            return None
        if self._latest[showing.row] != number:
            raise ChangedElsewhereError(
                "this face was changed in another window; it is shown as it is now: paint the stroke again"
            )
        return Drawn(showing.row, mask)

    def kept(self, sent: dict[str, Any] | None, mask: Mask) -> None:
        """Remember that a canvas's mask is on disk."""
        number = _number(sent)
        if number in self._shown:
            self._shown[number] = self._shown[number]._replace(mask=mask)


def paint(mask: Mask) -> Pixels:
    """Return a mask (S,S) as a layer of paint (S,S,4) uint8 RGBA."""
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[mask > 127] = (*PAINT, _THROUGH)
    return layer


def mask_of(layer: Pixels) -> Mask:
    """Return the mask (S,S) uint8 0 or 255 of a layer (S,S,4) RGBA: where there is half a brush's paint at least."""
    return np.where(layer[..., 3] > _THROUGH // 2, 255, 0).astype(np.uint8)


def css_paint() -> str:
    """Return the paint as CSS writes it."""
    return f"rgba({PAINT[0]}, {PAINT[1]}, {PAINT[2]}, {OPACITY})"


def outlined(picture: Pixels, masks: Sequence[tuple[Mask, tuple[int, int, int]]]) -> Pixels:
    """Draw the outlines of masks (S,S) over a picture (S,S,3) RGB, each in its colour."""
    drawn = picture.copy()
    for mask, colour in masks:
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1, cv2.LINE_AA)
    return drawn


def cut_out(picture: Pixels, mask: Mask) -> Pixels:
    """Return what a mask leaves of a picture (S,S,3) RGB: the rest is dark."""
    return np.where(mask[..., None] > 127, picture, (picture * 0.18).astype(np.uint8))


def _number(sent: dict[str, Any] | None) -> int:
    """Read the number of a canvas; 0, which none has, where it is not complete."""
    layers = (sent or {}).get("layers") or []
    if len(layers) != len(LAYERS):
        return 0
    red, green, blue, alpha = (int(v) for v in layers[-1][_CORNER])
    return red << 16 | green << 8 | blue if alpha == 255 else 0
