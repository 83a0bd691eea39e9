"""A mask as it lies on disk: a PNG that says itself where it comes from."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

Mask = NDArray[np.uint8]
State = Literal["hull", "predicted", "interpolated", "painted"]
"""Where a mask comes from: the landmarks' outline, an occluder, painted frames around it, a person."""

_NOTE: Final = "facesmith:state"


@dataclass(frozen=True)
class Kept:
    """The bytes of a mask's PNG, one bit a pixel, and where the mask comes from, which the PNG says too."""

    png: bytes
    state: State

    @classmethod
    def of(cls, mask: Mask, state: State) -> Self:
        """Pack a mask (S,S) uint8; above 127 is face."""
        note = PngImagePlugin.PngInfo()
        note.add_text(_NOTE, state)
        file = io.BytesIO()
        Image.fromarray(mask > 127).save(file, "PNG", pnginfo=note)
        return cls(file.getvalue(), state)

    @classmethod
    def read(cls, path: Path, mask: Mask) -> Self:
        """Take the mask (S,S) uint8 that was read from a file; a file that says nothing was painted elsewhere."""
        with Image.open(path) as picture:
            said = picture.info.get(_NOTE)
        known: dict[object, State] = {state: state for state in get_args(State)}
        return cls.of(mask, known.get(said, "painted"))

    def mask(self) -> Mask:
        """Give the mask (S,S) uint8, 0 or 255."""
        with Image.open(io.BytesIO(self.png)) as picture:
            return np.asarray(picture.convert("L"))
