"""Properties a written video takes from its source: times, rate, colour tags, picture properties and sound."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from facesmith.media.animation import AnimationReader
from facesmith.media.colour import ColourTags, yuv_matrix
from facesmith.media.colour_signal import HDR_TRANSFERS
from facesmith.media.picture_properties import PictureProperties
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
        source: The file whose sound, subtitles, chapters and titles go along; None for none.
        shift: Seconds by which they come earlier, as the pictures do: a transport stream starts anywhere on its clock.
        jumps: Where the clock of `source` begins anew on the way.
        length: Seconds after which they end; None where they go on to their own end.
        picture: Properties of the picture.
        tags_of_stream: Of the video stream: language, title, time code.
    """

    rate: Fraction
    time_base: Fraction
    pts: NDArray[np.int64]
    durations: NDArray[np.int64]
    tags: ColourTags | None
    source: Path | None
    shift: Fraction
    jumps: tuple[SoundJump, ...] = ()
    length: Fraction | None = None
    picture: PictureProperties = field(default_factory=PictureProperties)
    tags_of_stream: dict[str, str] = field(default_factory=dict)

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
            return cls.from_file(reader.path)._of_rgb(reader.height)
        index = reader.index
        start = Fraction(reader.start_time or 0, 1_000_000)
        shift = start if start > 0 and index.timed else Fraction(0)
        positions = index.table.position
        pts = index.pts - round(shift / index.time_base)
        jumps = tuple(
            SoundJump(int(positions[jump.place - 1]), int(positions[jump.place]), jump.shift * index.time_base)
            for jump in index.jumps
        )
        return cls(
            rate,
            index.time_base,
            pts,
            index.durations,
            reader.colour,
            reader.path,
            shift,
            jumps,
            picture=reader.picture,
            tags_of_stream=reader.stream_tags,
        )

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Take the timeline of a video file; MediaError when it cannot be read."""
        with open_video(path) as reader:
            return cls.from_reader(reader)

    def _of_rgb(self, height: int) -> Self:
        """Return the timeline of a reader that gives upright RGB: its frames become 4:2:0 of 8 bits, limited range."""
        tags = self.tags and replace(
            self.tags, colorspace=int(yuv_matrix(2, height)), color_range=int(ColorRange.MPEG), bits=8
        )
        picture = replace(self.picture, display_matrix=None, interlaced=False, pixel_format="yuv420p", dynamic=())
        return replace(self, tags=tags, picture=picture)

    def for_display(self) -> "Timeline":
        """Return the timeline of pictures that were made for a standard display: HDR tags make place for BT.709's."""
        if self.tags is None or self.tags.color_trc not in HDR_TRANSFERS:
            return self
        tags = replace(self.tags, colorspace=1, color_primaries=1, color_trc=1)
        picture = replace(self.picture, mastering=None, content_light=None, dynamic=())
        return replace(self, tags=tags, picture=picture)

    def cut(self, frames: range) -> "Timeline":
        """Return the timeline of some frames that follow each other, the first of them at 0.

        Args:
            frames: Their numbers, at least one.
        """
        if frames == range(len(self)):
            return self
        first, last = int(self.pts[frames[0]]), int(self.pts[frames[-1]])
        after = int(self.pts[frames[-1] + 1]) if frames[-1] + 1 < len(self) else None
        step = int(self.durations[frames[-1]]) or round(1 / self.rate / self.time_base)
        end = last + step if after is None else after
        where = slice(frames[0], frames[-1] + 1)
        return replace(
            self,
            pts=self.pts[where] - first,
            durations=self.durations[where],
            shift=self.shift + first * self.time_base,
            length=(end - first) * self.time_base,
            # That of the first frame, which is another one now.
            tags_of_stream={key: value for key, value in self.tags_of_stream.items() if key != "timecode"},
        )
