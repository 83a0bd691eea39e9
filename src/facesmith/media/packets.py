"""Packets of a video in the order of the file: read on past damage, and found again after a seek."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from facesmith.errors import MediaError
from facesmith.media.avi_index import number_frames, read_frame_sizes

Packets = Iterator["Packet[Any]"]

UNKNOWN: Final = int(np.iinfo(np.int64).min)
"""A time that a packet does not state."""

_CLOCK_MAY_BEGIN_ANEW: Final = 0x200  # AVFMT_TS_DISCONT
# Demuxers go on behind most damage when asked again; one that fails so often in a row does not.
_RETRIES: Final = 50
# Below this many packets reading on is cheaper than seeking.
_READ_ON = 200
# Packets after a seek among which one must be known.
_SEARCHED: Final = 500
# Seconds that may be missing at the end without a word.
_SHORT: Final = 0.1
# Share and number of bytes that may lie outside of packets: headers, indices, padding.
_OVERHEAD: Final = 0.25
_OVERHEAD_BYTES: Final = 100_000


@dataclass(frozen=True)
class PacketTable:
    """All M packets of a video stream, in the order of the file; times in units of `time_base`.

    Attributes:
        format: FFmpeg's name of the container.
        codec: FFmpeg's name of the codec.
        resets: Whether the container's clock may begin anew within a file.
        time_base: Seconds of one unit of time.
        rate: Frames a second as the file states or FFmpeg guesses them; None when unknown.
        pts: (M,) presentation times; UNKNOWN where there is none.
        dts: (M,) decoding times; UNKNOWN where there is none.
        durations: (M,), 0 where the file states none.
        key: (M,) whether a packet begins a group of pictures.
        shown: (M,) False for what an edit list leaves out.
        damaged: (M,) whether the demuxer marks it, or failed before it.
        position: (M,) bytes from the file's start; -1 where unknown.
        numbers: (M,) of frames, in units of `time_base`, where the file states them beside its packets (AVI); else
            None.
        lost: What could not be read, one sentence each.
    """

    format: str
    codec: str
    resets: bool
    time_base: Fraction
    rate: Fraction | None
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    durations: NDArray[np.int64]
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    damaged: NDArray[np.bool_]
    position: NDArray[np.int64]
    numbers: NDArray[np.int64] | None
    lost: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pts)

    def find(self, packet: "Packet[Any]", expected: int) -> int:
        """Return the place of a packet in the table; -1 when it is unknown or not the only one like it.

        Args:
            packet: As the demuxer gives it.
            expected: Where it should be.
        """
        pts, dts, position = raw_times(packet)
        if (
            expected < len(self.pts)
            and self.pts[expected] == pts
            and self.dts[expected] == dts
            and self.position[expected] == position
        ):
            return expected
        same = np.flatnonzero((self.position == position) & (self.pts == pts) & (self.dts == dts))
        return int(same[0]) if len(same) == 1 else -1


def raw_times(packet: "Packet[Any]") -> tuple[int, int, int]:
    """Return presentation time, decoding time and position of a packet, as in `PacketTable`."""
    pts = UNKNOWN if packet.pts is None else packet.pts
    dts = UNKNOWN if packet.dts is None else packet.dts
    return pts, dts, -1 if packet.pos is None else packet.pos


def open_container(path: Path) -> tuple[av.container.InputContainer, VideoStream]:
    """Open a file with FFmpeg and return it with its first true video stream.

    Raises:
        MediaError: it cannot be opened, or holds no video.
    """
    try:
        # Without `file:` FFmpeg takes `12:30.mp4` for an address.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be opened as video ({reason(error)}); replace or remove it") from error
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        found = "only sound" if container.streams.audio else "no video stream"
        container.close()
        raise MediaError(f"{path}: holds {found}; give a file with pictures")
    if streams[0].codec_context is None:
        container.close()
        raise MediaError(f"{path}: its video codec is unknown here; convert it, to H.264 for example")
    return container, streams[0]


def read_table(path: Path) -> PacketTable:
    """Read all packets of a video once, decoding none.

    Raises:
        MediaError: the file cannot be opened or holds no video.
    """
    container, stream = open_container(path)
    with container:
        rows: list[tuple[int, int, int, int, int, bool, bool, bool]] = []
        failures: list[str] = []
        failed, covered, end = 0, 0, 0.0
        for packet in demux(container, list(container.streams), failures):
            covered += packet.size
            if packet.pts is not None and packet.size:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index or packet.size == 0:
                continue
            pts, dts, position = raw_times(packet)
            damaged = packet.is_corrupt or len(failures) > failed
            failed = len(failures)
            flags = packet.is_keyframe, not packet.is_discard, damaged
            rows.append((pts, dts, packet.duration or 0, position, packet.size, *flags))
        lost = []
        if failures:
            lost.append(f"places that cannot be read: {len(failures)} ({failures[0]})")
        marked = sum(row[-1] for row in rows)
        if marked > len(failures):
            lost.append(f"frames marked as damaged: {marked}")
        if stream.frames > len(rows):
            lost.append(f"missing frames: {stream.frames - len(rows)} of {stream.frames}")
        stated = (container.duration or 0) / av.time_base + max(container.start_time or 0, 0) / av.time_base
        if 0 < end < stated - max(_SHORT, 0.01 * stated):
            lost.append(f"ends at {end:.2f} s, of {stated:.2f} s that the file states")
        size = path.stat().st_size
        rest = size - covered
        if rest > _OVERHEAD * size and rest > _OVERHEAD_BYTES:
            lost.append(f"{rest / 1e6:.1f} of {size / 1e6:.1f} MB hold nothing that can be read")
        values = np.array([row[:5] for row in rows], np.int64).reshape(-1, 5)
        marks = np.array([row[5:] for row in rows], bool).reshape(-1, 3)
        stated_sizes = read_frame_sizes(path, stream.index) if container.format.name == "avi" else None
        whole = stated_sizes is None or np.array_equal(stated_sizes, values[:, 4])
        return PacketTable(
            format=container.format.name,
            codec=stream.codec_context.name,
            resets=bool(container.format.flags & _CLOCK_MAY_BEGIN_ANEW),
            time_base=stream.time_base or Fraction(1, 1000),
            rate=stream.average_rate or stream.guessed_rate,
            pts=values[:, 0],
            dts=values[:, 1],
            durations=values[:, 2],
            position=values[:, 3],
            key=marks[:, 0],
            shown=marks[:, 1],
            damaged=marks[:, 2],
            numbers=None if whole or stated_sizes is None else number_frames(values[:, 4], stated_sizes),
            lost=tuple(lost),
        )


def demux(container: av.container.InputContainer, streams: Sequence[Stream], failures: list[str]) -> "Packets":
    """Yield the packets of a file, going on behind what cannot be read.

    Args:
        container: The open file, from where it stands.
        streams: Those whose packets are wanted.
        failures: Receives the reason of each place that cannot be read.
    """
    in_a_row = 0
    while in_a_row < _RETRIES:
        try:
            for packet in container.demux(*streams):
                in_a_row = 0
                yield packet
        except av.error.FFmpegError as error:
            failures.append(reason(error))
            in_a_row += 1
        except IndexError:
            return  # PyAV at the end of a file in which further streams begin on the way
        else:
            return


class PacketFeed:
    """The packets of a video from any place on, each with its place in the table."""

    def __init__(self, path: Path, table: PacketTable) -> None:
        """Open the file.

        Args:
            path: The file.
            table: Of the same file.

        Raises:
            MediaError: it cannot be opened.
        """
        self._path, self._table = path, table
        self._keys = np.flatnonzero(table.key)
        self._open()

    def _open(self) -> None:
        self.container, self.stream = open_container(self._path)
        self._start()

    def _start(self) -> None:
        self._packets = demux(self.container, [self.stream], [])
        self._pushed_back: tuple[int, Packet[Any]] | None = None
        self._at = 0  # place of the next packet

    def go_to(self, place: int) -> bool:
        """Move to a packet, or shortly before it.

        Args:
            place: Number of the packet.

        Returns:
            Whether the file was opened anew: its stream is another object then.
        """
        if 0 <= place - self._at <= _READ_ON:
            return False
        earlier = self._keys[self._keys <= place][-2:].tolist()
        for key in dict.fromkeys([place, *reversed(earlier)]):
            if key == 0:
                break
            dts, pts = int(self._table.dts[key]), int(self._table.pts[key])
            when = dts if dts != UNKNOWN else pts
            if when == UNKNOWN:
                continue
            try:
                self.container.seek(when, stream=self.stream, backward=True)
            except av.error.FFmpegError:
                continue
            self._start()
            found = self._locate()
            if found is not None and found[0] <= place:
                self._at, self._pushed_back = found[0], found
                return False
        self.container.close()
        self._open()
        return True

    def _locate(self) -> "tuple[int, Packet[Any]] | None":
        for _, packet in zip(range(_SEARCHED), self._packets, strict=False):
            if packet.size and (place := self._table.find(packet, len(self._table))) >= 0:
                return place, packet
        return None

    def __iter__(self) -> "Iterator[tuple[int, Packet[Any]]]":
        """Yield the packets from here on, each with its place."""
        while True:
            found = self._pushed_back
            self._pushed_back = None
            if found is None:
                packet = next(self._packets, None)
                if packet is None:
                    self._at = len(self._table) + _READ_ON
                    return
                if packet.size == 0:
                    continue
                place = self._table.find(packet, self._at)
                if place < 0:
                    continue
                found = place, packet
            self._at = found[0] + 1
            yield found

    def close(self) -> None:
        """Release the file."""
        self.container.close()


def reason(error: BaseException) -> str:
    """Return an error's text in one line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0].strip()
