"""Draw a comparison: the person, then target and swaps in columns, one scene in each row, metrics below."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facesmith.media.visualization import shorten_text

Pixels = NDArray[np.uint8]

MARGIN: Final = 12
TITLE: Final = 34
LINE: Final = 18
_BACKGROUND: Final = (250, 250, 250)
_INK: Final = (30, 30, 30)
_GREY: Final = (110, 110, 110)


@dataclass(frozen=True)
class Cell:
    """A swap.

    Attributes:
        picture: (H,W,3) RGB uint8.
        lines: Text below it.
    """

    picture: Pixels
    lines: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A scene.

    Attributes:
        name: Its name.
        before: The target, (H,W,3) RGB uint8.
        swaps: The swap of each model.
    """

    name: str
    before: Pixels
    swaps: Sequence[Cell]


def draw_sheet(person: Pixels | None, models: Sequence[str], rows: Sequence[Row], width: int) -> Pixels:
    """Draw a comparison.

    Args:
        person: A picture of the person, shown once, (H,W,3) RGB uint8; None leaves that column out.
        models: Name of each model.
        rows: The scenes.
        width: Of each picture in px; higher ones are narrower, so that none is higher than this.

    Returns:
        (H,W,3) RGB uint8.
    """
    titles = [*(["person"] if person is not None else []), "target", *models]
    lines = max(len(cell.lines) for row in rows for cell in row.swaps)
    step = width + MARGIN
    heights = [_row_height(row, width) for row in rows]
    below = LINE * max(lines, 1) + 2 * MARGIN
    canvas = Image.new("RGB", (MARGIN + step * len(titles), TITLE + sum(heights) + below * len(rows)), _BACKGROUND)
    draw, font, large = ImageDraw.Draw(canvas), ImageFont.load_default(13), ImageFont.load_default(17)
    for column, title in enumerate(titles):
        draw.text((MARGIN + column * step, MARGIN // 2), shorten_text(title, large, width), _INK, large)
    if person is not None:
        canvas.paste(_fit(person, width, heights[0]), (MARGIN, TITLE))
    top = TITLE
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate([Cell(row.before, [row.name]), *row.swaps], len(titles) - len(models) - 1):
            left = MARGIN + column * step
            fitted = _fit(cell.picture, width, height)
            canvas.paste(fitted, (left + (width - fitted.width) // 2, top + (height - fitted.height) // 2))
            for i, line in enumerate(cell.lines):
                ink = _GREY if cell.picture is row.before else _INK
                draw.text((left, top + height + 4 + i * LINE), shorten_text(line, font, width), ink, font)
        top += height + below
    return np.asarray(canvas)


def _row_height(row: Row, width: int) -> int:
    """Return the px of a row's pictures: those of the target at that width, at most the width itself."""
    height, target_width = row.before.shape[:2]
    return min(width, round(width * height / target_width))


def _fit(picture: Pixels, width: int, height: int) -> Image.Image:
    """Return a picture as large as fits."""
    factor = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    return Image.fromarray(resized)
