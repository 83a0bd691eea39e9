"""Write a video that keeps everything of its source but the pictures."""

import os
from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from facesmith.media.animation import AnimationReader
from facesmith.media.colour import EXACT, ColourTags, matrix_of
from facesmith.media.errors import MediaError
from facesmith.media.pyav_reader import PyAvReader
from facesmith.media.video import open_video

_OPTIONS = {
    ".mp4": {"movflags": "+faststart+use_metadata_tags"},
    ".mov": {"movflags": "+faststart+use_metadata_tags"},
    ".mkv": {},
}
_ANIMATION_BASE = Fraction(1, 1000)


class VideoWriter:
    """H.264 file that takes one RGB frame per frame of `like`, shown at the very same times.

    Every audio stream of `like` is copied bit for bit; time stamps (also variable ones), frame durations,
    colour matrix, range, primaries and transfer are kept; 10-bit sources become 10-bit files. Frames are
    upright as the readers give them, and so is the file: it displays like the source without a rotation
    mark. Without `like`, frames come at `fps`. `crf` 0..51 and `preset` are x264's; odd sizes are written as
    4:4:4. Metadata keys and values go into the container. Frames are written to a file beside `path` that
    takes its name in `close`; an exception inside `with` removes it. Raises MediaError for a suffix other
    than .mp4, .mov, .mkv, an audio codec that the container cannot hold, frames of changing size, or more
    frames than the source has.
    """

    def __init__(
        self,
        path: str | Path,
        like: str | Path | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        fps: float = 25.0,
        crf: int = 17,
        preset: str = "medium",
    ) -> None:
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in _OPTIONS:
            raise MediaError(f"{self.path}: cannot write '{suffix}' videos; use one of {', '.join(_OPTIONS)}")
        self._pts: np.ndarray | None = None
        self._durations: np.ndarray | None = None
        self._tags: ColourTags | None = None
        self._source: av.container.InputContainer | None = None
        self._rate = Fraction(fps).limit_denominator(60000)
        self._time_base = 1 / self._rate
        if like is not None:
            self._take_times(Path(like))
        self._options = {"crf": str(crf), "preset": preset}
        self._stream: VideoStream | None = None
        self._audio: dict[int, AudioStream] = {}
        self._audio_packets: deque[Packet[Any]] = deque()
        self._next = 0
        self._open = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.stem}.partial-{os.getpid()}{suffix}")
        try:
            self._container = av.open(str(self._temporary), "w", container_options=_OPTIONS[suffix])
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(f"{self.path}: cannot be written ({error.strerror}); choose another output") from error
        self._container.metadata.update(metadata or {})

    def write(self, rgb: np.ndarray, index: int | None = None) -> None:
        """Write the next frame, (H, W, 3) uint8 RGB.

        `index` names the source frame that it stands for where some in between were lost; it must ascend.
        """
        number = self._next if index is None else index
        if number < self._next or (self._pts is not None and number >= len(self._pts)):
            total = "" if self._pts is None else f" of {len(self._pts)}"
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
            dst_colorspace=matrix_of(tags.colorspace if tags else 2, rgb.shape[0]),
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )
        frame.pts = number if self._pts is None else int(self._pts[number])
        frame.time_base = self._time_base
        self._next = number + 1
        self._mux_video(self._stream.encode(frame))
        self._copy_audio(until=float(frame.pts * self._time_base))

    def close(self) -> None:
        """Finish the file and give it its name; without a frame written nothing is left behind."""
        if not self._open:
            return
        if self._stream is None:
            self.discard()
            return
        try:
            self._mux_video(self._stream.encode(None))
            self._copy_audio(until=None)
            self._container.close()
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self.path)
        except BaseException:
            self.discard()
            raise
        self._open = False
        if self._source is not None:
            self._source.close()

    def discard(self) -> None:
        """Close without a result: the unfinished file is removed, an older one of the same name stays."""
        if not self._open:
            return
        self._open = False
        try:
            self._container.close()
        finally:
            self._temporary.unlink(missing_ok=True)
            if self._source is not None:
                self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _take_times(self, like: Path) -> None:
        with open_video(like) as reader:
            self._rate = Fraction(reader.fps).limit_denominator(60000)
            if isinstance(reader, AnimationReader):
                self._time_base = _ANIMATION_BASE
                self._pts = np.rint(reader.times / float(_ANIMATION_BASE)).astype(np.int64)
                self._durations = np.rint(reader.durations / float(_ANIMATION_BASE)).astype(np.int64)
                return
            assert isinstance(reader, PyAvReader)
            self._tags = reader.colour
            self._time_base = reader.index.time_base
            self._pts = reader.index.pts
            self._durations = reader.index.durations
        self._source = av.open(str(like), metadata_errors="replace")
        # A transport stream starts anywhere on its clock; sound and picture are moved alike.
        start = self._source.start_time or 0
        self._shift = Fraction(start, 1_000_000) if start > 0 and not reader.index.counted else Fraction(0)
        self._pts = self._pts - round(self._shift / self._time_base)

    def _start(self, width: int, height: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate)
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
        if self._source is not None:
            for audio in self._source.streams.audio:
                try:
                    self._audio[audio.index] = self._container.add_stream_from_template(audio)
                except (av.error.FFmpegError, ValueError) as error:
                    raise self._unfit(audio.codec_context.name) from error
            if self._audio:
                self._audio_source = self._source.demux(*self._source.streams.audio)
        try:
            self._container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            names = [audio.codec_context.name for audio in self._source.streams.audio] if self._source else []
            raise self._unfit(", ".join(names) or "no") from error
        return stream

    def _unfit(self, codec: str) -> MediaError:
        return MediaError(f"{self.path}: {self.path.suffix} cannot hold {codec} sound; write an .mkv file")

    def _mux_video(self, packets: "list[Packet[Any]]") -> None:
        for packet in packets:
            if self._durations is not None and self._pts is not None and packet.pts is not None:
                at = int(np.searchsorted(self._pts, round(packet.pts * packet.time_base / self._time_base)))
                if at < len(self._durations) and self._durations[at]:
                    packet.duration = round(int(self._durations[at]) * self._time_base / packet.time_base)
            self._container.mux(packet)

    def _copy_audio(self, until: float | None) -> None:
        """Copy sound up to a time in seconds, so that the muxer can interleave it with the pictures."""
        if not self._audio:
            return
        while True:
            packet = self._audio_packets.popleft() if self._audio_packets else next(self._audio_source, None)
            if packet is None:
                return
            if packet.size == 0 or packet.dts is None:
                continue
            base = packet.time_base
            if until is not None and float(packet.dts * base - self._shift) > until:
                self._audio_packets.append(packet)
                return
            offset = round(self._shift / base)
            packet.dts -= offset
            packet.pts = packet.dts if packet.pts is None else packet.pts - offset
            packet.stream = self._audio[packet.stream_index]
            self._container.mux(packet)
