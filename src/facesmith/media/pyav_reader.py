"""Exact reading of whatever FFmpeg opens, by presentation times, decoding as little as possible."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from facesmith.errors import MediaError
from facesmith.media.colour import ColourTags, to_rgb
from facesmith.media.video_index import VideoIndex, build_index, open_container, sorted_indices

# Below this many packets reading on is cheaper than seeking.
_READ_ON = 200


@dataclass(slots=True)
class _Run:
    """Packets start..end in file order, decoded in one go for the wanted frames (pts -> index)."""

    start: int
    end: int
    wanted: dict[int, int]


class PyAvReader:
    """Reads whatever FFmpeg reads: VFR, open GOP, mpegts, mkv, damaged files; see `video.VideoReader`.

    A frame is taken only by its own presentation time, so it is the right one whatever the container's seeking does.
    Between wanted frames, pictures that nothing refers to are not decoded, and stretches that no wanted frame depends
    on are not even fed to the decoder. Colour is that of `colour.to_rgb`; pixels are the stored ones (no correction of
    a pixel aspect ratio, no deinterlacing).

    Attributes:
        index: Packets and frames of the file.
        times: (N,) presentation times in seconds, the first at 0.
        fps: Frames a second.
        colour: How the numbers of its frames mean colours.
        width: px, upright.
        height: px, upright.
    """

    def __init__(self, path: Path, threads: int = 1, fast_colour: bool = False) -> None:
        """Open a file.

        Args:
            path: The file.
            threads: How many the decoder may use.
            fast_colour: See `video.open_video`.

        Raises:
            MediaError: it cannot be opened, or not one frame decodes.
        """
        self.path = path
        self.index: VideoIndex = build_index(path)
        self._undecodable: set[int] = set()
        self._doubtful: set[int] = set()
        self._damaged = False  # a packet of the present group of pictures did not decode
        self.times = self.index.times
        self.fps = self.index.fps
        self._threads = threads
        self._fast_colour = fast_colour
        self._pushed_back: Packet[Any] | None = None
        self._position = {int(pts): at for at, pts in enumerate(self.index.packet_pts)}
        self._keys = np.flatnonzero(self.index.packet_key).tolist()
        self._serial = 0
        self._open()
        first = self._first_frame()
        self.colour = ColourTags.from_frame(first)
        self._orientation: Orientation = orientation_of(first)
        width, height = first.width, first.height
        self.width, self.height = (height, width) if self._orientation.transposed else (width, height)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def lost(self) -> list[str]:
        """Unreadable parts: losses in the index, and frames that failed to decode so far."""
        return [
            *self.index.lost,
            *self._stretches(self._undecodable, "cannot be decoded"),
            *self._stretches(self._doubtful, "follow damage and may show errors"),
        ]

    def _stretches(self, indices: set[int], what: str) -> list[str]:
        numbers = np.array(sorted(indices), int)
        parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
        return [
            f"{self.path.name}: frames {part[0]}..{part[-1]} (from {self.times[part[0]]:.2f} s) {what}"
            for part in parts
        ]

    @property
    def start_time(self) -> int | None:
        """Start time of the file, in microseconds."""
        return self._container.start_time

    def frames(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the wanted frames in ascending order.

        Args:
            indices: Numbers of frames; IndexError outside 0..N-1.

        Yields:
            Number and picture (H, W, 3) uint8 RGB.
        """
        wanted = sorted_indices(self.path, indices, len(self))
        self._serial += 1
        return self._guarded(self._counted(wanted) if self.index.counted else self._read(wanted), self._serial)

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _guarded(self, frames: Iterator[tuple[int, VideoFrame]], serial: int) -> Iterator[tuple[int, np.ndarray]]:
        for index, frame in frames:
            yield index, self._orientation.apply(to_rgb(frame, self._fast_colour))
            if serial != self._serial:
                raise RuntimeError(f"{self.path}: the decoder is now used by a newer frames() call")

    def _open(self) -> None:
        self._container, self._stream = open_container(self.path)
        self._context = self._stream.codec_context
        self._context.thread_count = self._threads
        self._packets = self._container.demux(self._stream)
        self._pushed_back = None
        self._at = 0  # place in file order of the next packet, as far as is known

    def _first_frame(self) -> VideoFrame:
        for packet in self._next_packets():
            for frame in self._decode(packet):
                return frame
        for frame in self._decode(None):
            return frame
        raise MediaError(f"{self.path}: no frame could be decoded; replace or remove it")

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        for run in self._plan(wanted):
            yield from self._decode_run(run)
            for pts, index in list(run.wanted.items()):
                frame = self._insist(pts, index)
                if frame is None:
                    self._undecodable.add(index)
                else:
                    yield index, frame

    def _plan(self, wanted: list[int]) -> list[_Run]:
        runs: list[_Run] = []
        for index in wanted:
            pts, end = int(self.index.pts[index]), int(self.index.packet[index])
            start = self._key_before(pts, end)
            if runs and start <= runs[-1].end:
                runs[-1].end = max(runs[-1].end, end)
                runs[-1].wanted[pts] = index
            else:
                runs.append(_Run(start, end, {pts: index}))
        return runs

    def _key_before(self, pts: int, place: int) -> int:
        """Find the last keyframe at or before `place` that is not shown after `pts`; 0 where there is none."""
        at = bisect.bisect_right(self._keys, place) - 1
        while at >= 0 and self.index.packet_pts[self._keys[at]] > pts:
            at -= 1
        return int(self._keys[at]) if at >= 0 else 0

    def _decode_run(self, run: _Run, exhaustive: bool = False) -> Iterator[tuple[int, VideoFrame]]:
        """Feed packets start..end and give the wanted frames that come out, taking them off `run.wanted`."""
        self._go_to(run.start)
        self._context.flush_buffers()
        for packet in self._next_packets():
            place = self._position.get(packet.pts, -1) if packet.pts is not None else -1
            if place < run.start:
                continue
            if place > run.end:
                break
            # A picture that no other refers to can be skipped without any change to the others.
            skip = not exhaustive and packet.pts not in run.wanted
            self._context.skip_frame = "NONREF" if skip else "DEFAULT"
            yield from self._take(self._decode(packet), run)
            if place == run.end:
                break
        self._context.skip_frame = "DEFAULT"
        yield from self._take(self._decode(None), run)

    def _take(self, frames: list[VideoFrame], run: _Run) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            if frame.pts is None or frame.is_corrupt:
                continue
            index = run.wanted.pop(frame.pts, None)
            if index is not None:
                if self._damaged:
                    self._doubtful.add(index)
                yield index, frame

    def _insist(self, pts: int, index: int) -> VideoFrame | None:
        """Decode one frame that did not come out, from ever earlier keyframes, leaving no picture out."""
        end = int(self.index.packet[index])
        before = [key for key in self._keys if key <= end and self.index.packet_pts[key] <= pts]
        for start in dict.fromkeys([*reversed(before[-3:]), 0]):
            for _, frame in self._decode_run(_Run(start, end, {pts: index}), exhaustive=True):
                return frame
        return None

    def _go_to(self, place: int) -> None:
        """Seek the demuxer to a position at or shortly before the requested one."""
        if 0 <= place - self._at <= _READ_ON:
            return
        earlier = [key for key in self._keys if key <= place]
        for key in dict.fromkeys([place, *reversed(earlier[-2:])]):
            if key == 0:
                break
            try:
                self._container.seek(int(self.index.packet_dts[key]), stream=self._stream, backward=True)
            except av.error.FFmpegError:
                continue
            self._packets = self._container.demux(self._stream)
            first = next((p for p in self._packets if p.pts is not None and p.pts in self._position), None)
            if first is None or first.pts is None or self._position[first.pts] > place:
                continue
            self._at = self._position[first.pts]
            self._pushed_back = first
            return
        self._container.close()
        self._open()

    def _next_packets(self) -> "Iterator[Packet[Any]]":
        while True:
            packet = self._pushed_back
            self._pushed_back = None
            if packet is None:
                try:
                    packet = next(self._packets, None)
                except av.error.FFmpegError:
                    return  # the index has reported where reading ended
            if packet is None or packet.size == 0:
                self._at = len(self.index.packet_pts) + _READ_ON
                return
            if packet.pts is not None and packet.pts in self._position:
                self._at = self._position[packet.pts] + 1
            yield packet

    def _decode(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        if packet is not None and packet.is_keyframe:
            self._damaged = False
        try:
            return self._context.decode(packet)
        except av.error.FFmpegError:
            self._damaged = True
            return []  # frames missing because of it are reported by _read

    def _counted(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        self._container.close()
        self._open()
        left = set(wanted)
        count = 0
        for packet in self._with_flush():
            for frame in self._decode(packet):
                if count in left:
                    left.discard(count)
                    yield count, frame
                count += 1
            if not left:
                return

    def _with_flush(self) -> "Iterator[Packet[Any] | None]":
        yield from self._next_packets()
        yield None


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of a picture: transposed first, then mirrored, then turned upside down."""

    transposed: bool
    mirrored: bool
    flipped: bool

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return an (H, W, 3) picture as it is shown."""
        if self == UPRIGHT:
            return image
        if self.transposed:
            image = image.swapaxes(0, 1)
        if self.mirrored:
            image = image[:, ::-1]
        if self.flipped:
            image = image[::-1]
        return np.ascontiguousarray(image)


UPRIGHT = Orientation(False, False, False)


def orientation_of(frame: VideoFrame) -> Orientation:
    """Read the display matrix of a frame (ISO 14496-12), rounded to the nearest quarter turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return UPRIGHT
    matrix = np.frombuffer(bytes(cast(Any, data)), np.int32)
    a, b, c, d = (int(matrix[at]) for at in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)
