"""The contact sheet: one picture of the kept and the rejected faces, for inspection."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facesmith.faces.geometry.masks import divide_face
from facesmith.faces.geometry.topology import REGIONS
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
ORANGE: Final = (230, 120, 0)
PAPER: Final = (250, 250, 250)
INK: Final = (30, 30, 30)


@dataclass(frozen=True)
class Thumbnail:
    """A face on the sheet.

    Attributes:
        crop: File of its crop.
        origin: Where it is from.
        reason: Why it was rejected; None: kept.
        flaws: What hides each of `topology.REGIONS`; None where it is visible.
        landmarks: (478,2+) as fractions of the crop's side.
    """

    crop: Path
    origin: str
    reason: str | None
    flaws: tuple[str | None, ...]
    landmarks: NDArray[np.floating]


def write_contact_sheet(path: Path, faces: Sequence[Thumbnail], title: str) -> None:
    """Write a PNG of up to MOST faces: kept ones first, in green, then rejected ones in red with the reason.

    Regions of kept faces that something hides are hatched, and named below.

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
        sheet.paste(_hatch(_read(face.crop), face), (x, y))
        note, ink = (face.reason, RED) if face.reason is not None else (_name_flaws(face.flaws), ORANGE)
        lines = _wrap(face.origin, font, THUMB, 1)
        if note:
            lines += _wrap(note, font, THUMB, LINES - 1)
        for row, line in enumerate(lines):
            draw.text((x, y + THUMB + BORDER + row * LINE), line, INK if row == 0 else ink, font)
    # Photographs as they were taken: not synthetic. Effort 1: a fifth of the time of 6, a tenth larger.
    write_image(path, np.asarray(sheet), mark=None, effort=1)


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        # The decoder scales by powers of two: a quarter of the work for a quarter of the size.
        picture.draft("RGB", (2 * THUMB, 2 * THUMB))
        return picture.convert("RGB").resize((THUMB, THUMB), Image.Resampling.LANCZOS)


def _hatch(picture: Image.Image, face: Thumbnail) -> Image.Image:
    hidden = [flaw is not None for flaw in face.flaws]
    if not any(hidden):
        return picture
    where = divide_face(face.landmarks * THUMB, THUMB)[hidden].any(0)
    lines = np.add.outer(np.arange(THUMB), np.arange(THUMB)) % 8 < 3
    hatched = np.array(picture)
    hatched[where & lines] = ORANGE
    return Image.fromarray(hatched)


def _name_flaws(flaws: Sequence[str | None]) -> str:
    """Name the hidden regions, by what hides them."""
    regions: dict[str, list[str]] = {}
    for region, flaw in zip(REGIONS, flaws, strict=True):
        if flaw is not None:
            regions.setdefault(flaw, []).append(region)
    return "; ".join(f"{flaw}: {', '.join(names)}" for flaw, names in regions.items())


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
