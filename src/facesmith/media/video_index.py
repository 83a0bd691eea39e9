"""Index of a video: presentation time and file position of each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import MediaError
from facesmith.media.packet_times import ClockJump, counting_losses, place_in_time
from facesmith.media.packets import UNKNOWN, PacketTable, demux, open_container, read_table

# Share of packets without a frame of their own from which on packets are fields or parts, not frames.
_MISSING: Final = 0.25


def sorted_indices(path: Path, indices: Sequence[int], count: int) -> list[int]:
    """Return the wanted frames in order, each once.

    Args:
        path: For the message.
        indices: Numbers of frames.
        count: How many frames there are.

    Raises:
        IndexError: a number outside 0..count-1.
    """
    wanted = sorted({int(index) for index in indices})
    if wanted and not 0 <= wanted[0] <= wanted[-1] < count:
        raise IndexError(f"{path}: frames are 0..{count - 1}, not {wanted[0]}..{wanted[-1]}")
    return wanted


@dataclass(frozen=True)
class VideoIndex:
    """Packets of a video stream in file order, and its N frames in order of presentation.

    Attributes:
        path: The file.
        table: The packets, with the times that the file states.
        time_base: Seconds of one unit of time.
        fps: Frames a second.
        packet_pts: (M,) presentation times of packets on one clock, in units of `time_base`.
        pts: (N,) presentation times of frames, ascending.
        packet: (N,) place of each frame's packet in file order.
        durations: (N,) in units of `time_base`, 0 where the file states none.
        jumps: Where the file's own clock begins anew: what else the file holds, sound for example, moves along.
        damage: Places of packets at or before which data are missing, ascending.
        timed: Whether the times come from the file; else frame i is shown at i / fps.
        counted: Frames cannot be told by their packets: frame i is the i-th that decodes.
        lost: What could not be read, one sentence each.
    """

    path: Path
    table: PacketTable
    time_base: Fraction
    fps: float
    packet_pts: NDArray[np.int64]
    pts: NDArray[np.int64]
    packet: NDArray[np.int64]
    durations: NDArray[np.int64]
    jumps: tuple[ClockJump, ...]
    damage: NDArray[np.int64]
    timed: bool
    counted: bool
    lost: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self.table.format

    @property
    def times(self) -> NDArray[np.float64]:
        """Presentation times in seconds (N,), the first at 0."""
        if not len(self.pts):
            return np.zeros(0)
        return np.asarray((self.pts - self.pts[0]) * float(self.time_base))

    @property
    def has_open_gop(self) -> bool:
        """Whether frames that follow a later keyframe in the file are shown before it."""
        pts = np.where(self.table.key, self.packet_pts, np.iinfo(np.int64).min)
        return bool((self.packet_pts < np.maximum.accumulate(pts)).any())


def build_index(path: Path) -> VideoIndex:
    """Read all packets of a video once, decoding none (but where a file lacks time stamps all are decoded).

    Raises:
        MediaError: the file cannot be opened, or holds no video or no frame.
    """
    table = read_table(path)
    # AVI has no presentation times; what FFmpeg guesses is off where these codecs reorder.
    guessed = table.format == "avi" and table.codec in ("h264", "hevc")
    index = None if guessed else _by_time(path, table)
    index = index or _by_decoding(path, table)
    if not len(index):
        raise MediaError(f"{path}: contains no readable frame; replace or remove it")
    return index


def _by_time(path: Path, table: PacketTable) -> VideoIndex | None:
    """Index by presentation times; None when packets lack them or share them."""
    times = place_in_time(table)
    if times is None:
        return None
    visible = np.flatnonzero(times.shown)
    order = visible[np.argsort(times.pts[visible], kind="stable")]
    ordered = times.pts[order]
    unit = float(table.time_base)
    lost = list(table.lost)
    for jump in times.jumps:
        after = (int(times.pts[jump.place]) - int(ordered[0])) * unit
        lost.append(f"the clock jumps at {after:.2f} s (joined recordings); continued without a gap")
    if times.guessed:
        lost.append(f"unreadable times that were filled in: {times.guessed}")
    if times.dropped:
        lost.append(f"frames without a readable time, left out: {times.dropped}")
    gaps = _gaps(ordered)
    usual = float(np.median(np.diff(ordered))) if len(ordered) > 1 else 1.0
    for at in gaps:
        count, after = round((ordered[at + 1] - ordered[at]) / usual) - 1, (ordered[at] - ordered[0]) * unit
        lost.append(f"missing after {after:.2f} s: about {count} frame{'s' if count > 1 else ''}")
    # The first packets in the file that lie behind a gap: what they refer to may be gone.
    behind = [int(order[at + 1 :].min()) for at in gaps]
    span = float((ordered[-1] - ordered[0]) * table.time_base) if len(ordered) > 1 else 0.0
    return VideoIndex(
        path=path,
        table=table,
        time_base=table.time_base,
        fps=float(table.rate) if table.rate else ((len(ordered) - 1) / span if span else 25.0),
        packet_pts=np.where(times.pts == UNKNOWN, np.iinfo(np.int64).max, times.pts),
        pts=ordered,
        packet=order,
        durations=table.durations[order],
        jumps=(*times.jumps, *times.losses),
        damage=np.unique(np.concatenate([np.flatnonzero(table.damaged), np.array(behind, np.int64)])),
        timed=True,
        counted=False,
        lost=tuple(lost),
    )


def _gaps(pts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return after which frames there is a hole in a video of otherwise constant rate.

    Containers drop damaged packets without a word.
    """
    steps = np.diff(pts)
    if len(steps) < 10:
        return np.zeros(0, np.intp)
    usual = float(np.median(steps))
    regular = np.abs(steps - usual) <= 0.1 * usual
    return np.flatnonzero(steps > 1.5 * usual) if regular.mean() >= 0.9 else np.zeros(0, np.intp)


def _by_decoding(path: Path, table: PacketTable) -> VideoIndex:
    """Index a file without usable time stamps by decoding it whole: the order of frames is that of the decoder."""
    rate = table.rate or Fraction(25)
    places, count, failed = _decode_all(path)
    lost = list(table.lost)
    counted = places is None
    if places is None:
        order = np.arange(count, dtype=np.int64)
        slots = order
    else:
        order = _with_undecoded(places, len(table))
        # The file's order in time, so that a lost frame leaves its gap.
        clock = np.sort(table.dts if table.numbers is None else table.numbers)
        slots = np.arange(len(order), dtype=np.int64)
        if len(order) and clock[0] != UNKNOWN and table.format == "avi" and (np.diff(clock) > 0).all():
            slots = clock[: len(order)] - clock[0]
    if failed:
        lost.append(f"{failed} damaged packets do not decode")
    packet_pts = np.zeros(len(table), np.int64)
    if counted:
        packet_pts = np.arange(len(table), dtype=np.int64)
    else:
        packet_pts[order] = slots
    return VideoIndex(
        path=path,
        table=table,
        time_base=1 / rate,
        fps=float(rate),
        packet_pts=packet_pts,
        pts=slots,
        packet=order,
        durations=np.ones(len(order), np.int64),
        jumps=tuple(counting_losses(table)),
        damage=np.flatnonzero(table.damaged),
        timed=False,
        counted=counted,
        lost=tuple(lost),
    )


def _decode_all(path: Path) -> tuple[list[int] | None, int, int]:
    """Decode a whole file.

    Returns:
        The packets' places in the order of their frames, None where packets and frames do not correspond; the number
        of frames; the number of packets that failed.
    """
    container, stream = open_container(path)
    places: list[int | None] = []
    failed = 0
    with container:
        stream.codec_context.skip_frame = "DEFAULT"
        packets = (packet for packet in demux(container, [stream], []) if packet.size)
        for place, packet in enumerate(chain(packets, [None])):
            if packet is not None:
                packet.pts = place
            try:
                places += [frame.pts for frame in stream.codec_context.decode(packet)]
            except av.error.FFmpegError:
                failed += 1
    own = [one for one in places if one is not None]
    missing = place - len(own) - failed
    if len(set(own)) < len(places) or missing > _MISSING * place:
        return None, len(places), failed
    return own, len(own), failed


def _with_undecoded(places: Sequence[int], count: int) -> NDArray[np.int64]:
    """Insert the packets that gave no frame where their frames would be, as far as their order tells."""
    decoded = np.asarray(places, np.int64)
    absent = np.setdiff1d(np.arange(count), decoded)
    rank = np.searchsorted(np.sort(decoded), absent) - 0.5
    order = np.argsort(np.concatenate([np.arange(len(decoded)), rank]), kind="stable")
    return np.concatenate([decoded, absent])[order]
