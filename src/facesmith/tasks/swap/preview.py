"""The sheet that is looked at before a film is rendered: who becomes whom, and a few frames before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from facesmith.media.visualization import shorten_text
from facesmith.tasks.swap.face_selection import SelectedFace

Pixels = npt.NDArray[np.uint8]

_SHEET: Final = 1600  # px, the width
_MARGIN: Final = 12
_LINE: Final = 26
_FACE: Final = 200  # px, the side of a face in the cast
_AROUND: Final = 1.6  # of a face's box
_BACKGROUND: Final = (24, 24, 24)
_INK: Final = (235, 235, 235)
_COLOURS: Final = ((255, 196, 0), (64, 200, 255), (255, 96, 160), (128, 230, 96), (190, 140, 255), (255, 140, 64))
"""Of the entries of a cast, in their order."""


@dataclass(frozen=True)
class PreviewFrame:
    """A frame of the sheet.

    Attributes:
        name: File and time.
        before: (H,W,3) RGB.
        after: Of the same size.
        faces: Those that were swapped.
    """

    name: str
    before: Pixels
    after: Pixels
    faces: Sequence[SelectedFace]


def preview_path(outputs: Sequence[Path], output: Path) -> Path:
    """Return where the sheet goes: beside a single file, else into the folder.

    Args:
        outputs: Where the results would be written.
        output: As the user gave it.
    """
    return output.with_name(f"{output.stem}_preview.jpg") if outputs == [output] else output / "preview.jpg"


def draw_preview(names: Sequence[str], targets: Sequence[str], frames: Sequence[PreviewFrame]) -> Pixels:
    """Draw the sheet.

    Args:
        names: Whom each entry of the cast shows.
        targets: Whose faces it takes, as the user wrote it.
        frames: In their order.

    Returns:
        (H,W,3) RGB: the cast, then the frames, the target on the left with its faces framed, the swap on the right.
    """
    width = (_SHEET - 3 * _MARGIN) // 2
    cast_height = _MARGIN + len(names) * (_FACE + _MARGIN)
    heights = [round(width * frame.before.shape[0] / frame.before.shape[1]) for frame in frames]
    sheet = Image.new("RGB", (_SHEET, cast_height + sum(heights) + len(frames) * (_LINE + _MARGIN)), _BACKGROUND)
    draw, font, large = ImageDraw.Draw(sheet), ImageFont.load_default(15), ImageFont.load_default(22)
    for entry, (name, target) in enumerate(zip(names, targets, strict=True)):
        top = _MARGIN + entry * (_FACE + _MARGIN)
        _draw_entry(sheet, draw, top, _colour(entry), frames, entry)
        left = 3 * _MARGIN + 2 * _FACE
        count = sum(any(one.entry == entry for one in frame.faces) for frame in frames)
        lines = [f"{name}", f"target {target}", f"in {count} of {len(frames)} frames"]
        for i, (line, how) in enumerate(zip(lines, (large, font, font), strict=True)):
            ink = _colour(entry) if i == 0 else _INK
            draw.text((left, top + 8 + i * 34), shorten_text(line, how, _SHEET - left - _MARGIN), ink, how)
    top = cast_height
    for frame, height in zip(frames, heights, strict=True):
        scale = width / frame.before.shape[1]
        for column, picture in enumerate((frame.before, frame.after)):
            sheet.paste(_resize(picture, width, height), (_MARGIN + column * (width + _MARGIN), top))
        for one in frame.faces:
            box = one.face.box * scale + np.array([_MARGIN, top, _MARGIN, top])
            corner = (float(box[0]) + 4, max(float(box[1]) - 22, top))
            draw.rectangle([float(edge) for edge in box], outline=_colour(one.entry), width=2)
            draw.text(corner, names[one.entry], _colour(one.entry), font, stroke_width=2, stroke_fill=(0, 0, 0))
        note = frame.name if frame.faces else f"{frame.name}: nobody is swapped"
        draw.text((_MARGIN, top + height + 4), shorten_text(note, font, _SHEET - 2 * _MARGIN), _INK, font)
        top += height + _LINE + _MARGIN
    return np.asarray(sheet)


def _draw_entry(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    colour: tuple[int, int, int],
    frames: Sequence[PreviewFrame],
    entry: int,
) -> None:
    """Draw the largest face of an entry, before and after."""
    found = [(frame, one.face) for frame in frames for one in frame.faces if one.entry == entry]
    for column in range(2):
        left = _MARGIN + column * (_FACE + _MARGIN)
        if found:
            frame, face = max(found, key=lambda pair: float(pair[1].box[2] - pair[1].box[0]))
            middle = (face.box[:2] + face.box[2:]) / 2
            half = _AROUND * float((face.box[2:] - face.box[:2]).max()) / 2
            scale = _FACE / (2 * half)
            matrix = np.array([[scale, 0, _FACE / 2 - scale * middle[0]], [0, scale, _FACE / 2 - scale * middle[1]]])
            picture = (frame.before, frame.after)[column]
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            crop = cv2.warpAffine(picture, matrix, (_FACE, _FACE), flags=how, borderMode=cv2.BORDER_REPLICATE)
            sheet.paste(Image.fromarray(crop), (left, top))
        draw.rectangle([left, top, left + _FACE - 1, top + _FACE - 1], outline=colour, width=3)


def _colour(entry: int) -> tuple[int, int, int]:
    return _COLOURS[entry % len(_COLOURS)]


def _resize(picture: Pixels, width: int, height: int) -> Image.Image:
    how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
    return Image.fromarray(cv2.resize(picture, (width, height), interpolation=how))
