"""Write a video that keeps everything of its source but the pictures."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.packet import Packet
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from facesmith.errors import MediaError
from facesmith.media.colour import EXACT, yuv_matrix
from facesmith.media.container_writer import ContainerWriter, require_sound_fits, require_suffix
from facesmith.media.provenance import Mark
from facesmith.media.timeline import Timeline


class VideoWriter:
    """Writes an H.264 file that takes one RGB frame per frame of a source, shown at the very same times.

    Time stamps (also variable ones), frame durations, colour matrix, range, primaries and transfer of the source are
    kept; 10-bit sources become 10-bit files; odd sizes are written as 4:4:4. Frames are upright as the readers give
    them, and so is the file: it displays like the source without a rotation mark. Frames are written to a file beside
    `path` that takes its name in `close`; an exception inside `with` removes it.
    """

    def __init__(
        self,
        path: str | Path,
        like: str | Path | Timeline | None = None,
        *,
        mark: Mark | None,
        sound: bool = True,
        fps: float = 25.0,
        crf: int = 17,
        preset: str = "medium",
    ) -> None:
        """Open the file.

        Args:
            path: .mp4, .mov or .mkv.
            like: Source of times, colours and sound; without it frames come at `fps`.
            mark: Signed provenance; None for media that are not synthetic.
            sound: Whether every audio stream of `like` is copied bit for bit.
            fps: Frames a second without `like`.
            crf: x264's quality, 0 lossless .. 51.
            preset: x264's preset.

        Raises:
            MediaError: another suffix, an audio codec that the container cannot hold, or the file cannot be written.
        """
        self.path = Path(path)
        require_suffix(self.path)
        self._timeline = Timeline.from_file(Path(like)) if isinstance(like, str | Path) else like
        self._rate = self._timeline.rate if self._timeline else Fraction(fps).limit_denominator(60000)
        self._time_base = self._timeline.time_base if self._timeline else 1 / self._rate
        self._tags = self._timeline.tags if self._timeline else None
        self._options = {"crf": str(crf), "preset": preset}
        self._stream: VideoStream | None = None
        self._next = 0
        if sound and self._timeline is not None:
            require_sound_fits(self.path, self._timeline)
        self._file = ContainerWriter(self.path, self._timeline, mark=mark, sound=sound)

    def write(self, rgb: np.ndarray, index: int | None = None) -> None:
        """Write the next frame.

        Args:
            rgb: (H, W, 3) uint8.
            index: Number of its source frame, where some in between were lost; must ascend.

        Raises:
            MediaError: frames of changing size, or more frames than the source has.
        """
        number = self._next if index is None else index
        if number < self._next or (self._timeline is not None and number >= len(self._timeline)):
            total = "" if self._timeline is None else f" of {len(self._timeline)}"
            raise MediaError(f"{self.path}: frame {number}{total} cannot be written after {self._next - 1}")
        if self._stream is None:
            self._stream = self._start(rgb.shape[1], rgb.shape[0])
        if rgb.shape != (self._stream.height, self._stream.width, 3):
            raise MediaError(f"{self.path}: frame {number} has shape {rgb.shape}; all frames must be of one size")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        tags = self._tags
        full = tags is not None and tags.color_range == int(ColorRange.JPEG)
        frame = frame.reformat(
            format=self._stream.pix_fmt,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=yuv_matrix(tags.colorspace if tags else 2, rgb.shape[0]),
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )
        frame.pts = number if self._timeline is None else int(self._timeline.pts[number])
        frame.time_base = self._time_base
        self._next = number + 1
        self._mux(self._stream.encode(frame))
        self._file.copy_sound(until=float(frame.pts * self._time_base))

    def close(self) -> None:
        """Finish the file and give it its name; without a frame written nothing is left behind."""
        if self._stream is None:
            self.discard()
            return
        try:
            self._mux(self._stream.encode(None))
            self._stream = None
        except BaseException:
            self.discard()
            raise
        self._file.close()

    def discard(self) -> None:
        """Close without a result: the unfinished file is removed, an older one of the same name stays."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _start(self, width: int, height: int) -> VideoStream:
        stream = self._file.container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height = width, height
        deep = self._tags is not None and self._tags.bits > 8
        chroma = "420p" if width % 2 == 0 and height % 2 == 0 else "444p"
        stream.pix_fmt = f"yuv{chroma}10le" if deep else f"yuv{chroma}"
        stream.options = dict(self._options)
        stream.time_base = stream.codec_context.time_base = self._time_base
        if self._tags is not None:
            context: Any = stream.codec_context
            context.colorspace = self._tags.colorspace if self._tags.colorspace else 2  # 0 means RGB
            context.color_range = self._tags.color_range
            context.color_primaries = self._tags.color_primaries
            context.color_trc = self._tags.color_trc
        self._file.start()
        return stream

    def _mux(self, packets: "list[Packet[Any]]") -> None:
        for packet in packets:
            if self._timeline is not None and packet.pts is not None:
                pts, durations = self._timeline.pts, self._timeline.durations
                at = int(np.searchsorted(pts, round(packet.pts * packet.time_base / self._time_base)))
                if at < len(durations) and durations[at]:
                    packet.duration = round(int(durations[at]) * self._time_base / packet.time_base)
            self._file.mux(packet)
