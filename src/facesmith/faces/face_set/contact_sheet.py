"""The contact sheet: one picture of the kept and the rejected faces, for inspection."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facesmith.media.images import write_image
from facesmith.media.sampling import evenly_spaced
from facesmith.media.visualization import shorten_text

MOST: Final = 200
COLUMNS: Final = 12
THUMB: Final = 128
MARGIN: Final = 8
BORDER: Final = 4
LINE: Final = 15
LINES: Final = 3
GREEN: Final = (40, 150, 60)
RED: Final = (200, 40, 40)
PAPER: Final = (250, 250, 250)
INK: Final = (30, 30, 30)


@dataclass(frozen=True)
class Thumbnail:
    """A face on the sheet.

    Attributes:
        crop: File of its crop.
        origin: Where it is from.
        reason: Why it was rejected; None: kept.
    """

    crop: Path
    origin: str
    reason: str | None


def write_contact_sheet(path: Path, faces: Sequence[Thumbnail], title: str) -> None:
    """Write a PNG of up to MOST faces: kept ones first, in green, then rejected ones in red with the reason.

    More faces are thinned out evenly, kept and rejected ones by their share, but at least a quarter of the sheet is for
    the rejected when there are that many: they are what one looks for.

    Args:
        path: The file.
        faces: All faces, kept and rejected.
        title: Heading.
    """
    kept = [face for face in faces if face.reason is None]
    rejected = sorted((face for face in faces if face.reason is not None), key=lambda face: face.reason or "")
    for_rejected = min(len(rejected), max(MOST // 4, MOST * len(rejected) // max(len(faces), 1)))
    for_rejected = max(for_rejected, min(len(rejected), MOST - len(kept)))
    shown = [kept[i] for i in evenly_spaced(len(kept), min(len(kept), MOST - for_rejected))]
    shown += [rejected[i] for i in evenly_spaced(len(rejected), for_rejected)]

    columns = min(COLUMNS, max(len(shown), 6))
    cell = (THUMB + 2 * MARGIN, THUMB + 2 * MARGIN + LINES * LINE)
    font, large = ImageFont.load_default(12), ImageFont.load_default(18)
    width = columns * cell[0]
    heading = _wrap(f"{title}; shown: {len(shown)} of {len(faces)}", large, width - 4 * MARGIN, 6)
    top = MARGIN + 24 * len(heading)
    sheet = Image.new("RGB", (width, top + -(-len(shown) // columns) * cell[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(heading):
        draw.text((MARGIN, MARGIN + 24 * number), line, INK, large)
    for number, face in enumerate(shown):
        x = number % columns * cell[0] + MARGIN
        y = top + number // columns * cell[1] + MARGIN
        colour = GREEN if face.reason is None else RED
        box = (x - BORDER, y - BORDER, x + THUMB + BORDER - 1, y + THUMB + BORDER - 1)
        draw.rectangle(box, outline=colour, width=BORDER)
        sheet.paste(_read(face.crop), (x, y))
        lines = _wrap(face.origin, font, THUMB, 1)
        if face.reason is not None:
            lines += _wrap(face.reason, font, THUMB, LINES - 1)
        for row, line in enumerate(lines):
            draw.text((x, y + THUMB + BORDER + row * LINE), line, INK if row == 0 else RED, font)
    # Photographs as they were taken: not synthetic. Effort 1: a fifth of the time of 6, a tenth larger.
    write_image(path, np.asarray(sheet), mark=None, effort=1)


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        # The decoder scales by powers of two: a quarter of the work for a quarter of the size.
        picture.draft("RGB", (2 * THUMB, 2 * THUMB))
        return picture.convert("RGB").resize((THUMB, THUMB), Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, max_lines: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > max_lines:
        lines[max_lines - 1] = " ".join(lines[max_lines - 1 :])
        lines = lines[:max_lines]
    return [shorten_text(line, font, width) for line in lines]
