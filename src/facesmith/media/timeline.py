"""Properties a written video takes from its source: times, rate, colour tags and sound."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from facesmith.media.animation import AnimationReader
from facesmith.media.colour import ColourTags
from facesmith.media.pyav_reader import PyAvReader
from facesmith.media.sound_clock import SoundJump
from facesmith.media.video import VideoReader, open_video

_ANIMATION_BASE = Fraction(1, 1000)


@dataclass(frozen=True)
class Timeline:
    """When each of N frames is shown, and how.

    Attributes:
        rate: Frames a second.
        time_base: Seconds of one unit of time.
        pts: (N,) presentation times in units of `time_base`, ascending.
        durations: (N,) in units of `time_base`; 0 is not known.
        tags: Of the colours; None for plain RGB.
        sound: The file whose audio streams go along; None for none.
        shift: Seconds by which they come earlier, as the pictures do: a transport stream starts anywhere on its clock.
        jumps: Where the clock of `sound` begins anew on the way.
    """

    rate: Fraction
    time_base: Fraction
    pts: NDArray[np.int64]
    durations: NDArray[np.int64]
    tags: ColourTags | None
    sound: Path | None
    shift: Fraction
    jumps: tuple[SoundJump, ...] = ()

    def __len__(self) -> int:
        return len(self.pts)

    @classmethod
    def from_reader(cls, reader: VideoReader) -> Self:
        """Take the timeline of an open video; MediaError when the file cannot be read by PyAV."""
        rate = Fraction(reader.fps).limit_denominator(60000)
        if isinstance(reader, AnimationReader):
            unit = float(_ANIMATION_BASE)
            pts = np.rint(reader.times / unit).astype(np.int64)
            durations = np.rint(reader.durations / unit).astype(np.int64)
            return cls(rate, _ANIMATION_BASE, pts, durations, None, None, Fraction(0))
        if not isinstance(reader, PyAvReader):
            return cls.from_file(reader.path)
        index = reader.index
        start = Fraction(reader.start_time or 0, 1_000_000)
        shift = start if start > 0 and index.timed else Fraction(0)
        positions = index.table.position
        pts = index.pts - round(shift / index.time_base)
        jumps = tuple(
            SoundJump(int(positions[jump.place - 1]), int(positions[jump.place]), jump.shift * index.time_base)
            for jump in index.jumps
        )
        return cls(rate, index.time_base, pts, index.durations, reader.colour, reader.path, shift, jumps)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Take the timeline of a video file; MediaError when it cannot be read."""
        with open_video(path) as reader:
            return cls.from_reader(reader)
