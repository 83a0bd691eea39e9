"""Draw a comparison: person, target and swaps in columns, one scene in each row, metrics below."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facesmith.media.visualization import shorten_text

Pixels = NDArray[np.uint8]

CELL: Final = 256
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
        before: The target's face, (H,W,3) RGB uint8.
        swaps: The swap of each model.
    """

    name: str
    before: Pixels
    swaps: Sequence[Cell]


def draw_sheet(person: Pixels | None, models: Sequence[str], rows: Sequence[Row]) -> Pixels:
    """Draw a comparison.

    Args:
        person: A picture of the person, (H,W,3) RGB uint8; None leaves that column out.
        models: Name of each model.
        rows: The scenes.

    Returns:
        (H,W,3) RGB uint8.
    """
    titles = [*(["person"] if person is not None else []), "target", *models]
    lines = max(len(cell.lines) for row in rows for cell in row.swaps)
    step, height = CELL + MARGIN, CELL + LINE * max(lines, 1) + 2 * MARGIN
    canvas = Image.new("RGB", (MARGIN + step * len(titles), TITLE + height * len(rows)), _BACKGROUND)
    draw, font, large = ImageDraw.Draw(canvas), ImageFont.load_default(13), ImageFont.load_default(17)
    for column, title in enumerate(titles):
        draw.text((MARGIN + column * step, MARGIN // 2), shorten_text(title, large, CELL), _INK, large)
    for number, row in enumerate(rows):
        cells = [Cell(person, [])] if person is not None else []
        cells += [Cell(row.before, [row.name]), *row.swaps]
        top = TITLE + number * height
        for column, cell in enumerate(cells):
            left = MARGIN + column * step
            canvas.paste(_square(cell.picture), (left, top))
            for i, line in enumerate(cell.lines):
                ink = _GREY if column < len(cells) - len(row.swaps) else _INK
                draw.text((left, top + CELL + 4 + i * LINE), shorten_text(line, font, CELL), ink, font)
    return np.asarray(canvas)


def _square(picture: Pixels) -> Image.Image:
    """Fit a picture into a cell, whole, over the canvas's colour."""
    height, width = picture.shape[:2]
    factor = CELL / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    cell = Image.new("RGB", (CELL, CELL), _BACKGROUND)
    cell.paste(Image.fromarray(resized), ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell
