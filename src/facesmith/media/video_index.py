"""Index of a video: presentation time and file position of each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from facesmith.errors import MediaError


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
        format: FFmpeg's name of the container.
        time_base: Seconds of one unit of time.
        fps: Frames a second.
        packet_pts: (M,) presentation times of packets in units of `time_base`.
        packet_dts: (M,) their decoding times.
        packet_key: (M,) whether they begin a group of pictures.
        pts: (N,) presentation times of frames, ascending.
        packet: (N,) place of each frame's packet in file order.
        durations: (N,) in units of `time_base`, 0 where the file states none.
        counted: The file has no usable time stamps; frame i is the i-th that decodes, its time i / fps.
        lost: What could not be read, one sentence each.
    """

    path: Path
    format: str
    time_base: Fraction
    fps: float
    packet_pts: np.ndarray
    packet_dts: np.ndarray
    packet_key: np.ndarray
    pts: np.ndarray
    packet: np.ndarray
    durations: np.ndarray
    counted: bool
    lost: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def times(self) -> np.ndarray:
        """Presentation times in seconds (N,) float64, the first at 0."""
        if not len(self.pts):
            return np.zeros(0)
        return np.asarray((self.pts - self.pts[0]) * float(self.time_base))

    @property
    def has_open_gop(self) -> bool:
        """Whether frames that follow a later keyframe in the file are shown before it."""
        pts = np.where(self.packet_key, self.packet_pts, np.iinfo(np.int64).min)
        return bool((self.packet_pts < np.maximum.accumulate(pts)).any())


def open_container(path: Path) -> tuple[av.container.InputContainer, VideoStream]:
    """Open a file with FFmpeg and return it with its first true video stream.

    Raises:
        MediaError: it cannot be opened, or holds no video.
    """
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be opened as video ({_reason(error)}); replace or remove it") from error
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        found = "only sound" if container.streams.audio else "no video stream"
        container.close()
        raise MediaError(f"{path}: holds {found}; give a file with pictures")
    if streams[0].codec_context is None:
        container.close()
        raise MediaError(f"{path}: its video codec is unknown here; convert it, to H.264 for example")
    return container, streams[0]


def build_index(path: Path) -> VideoIndex:
    """Read all packets of a video once, decoding none (but where a file lacks time stamps all are decoded).

    Raises MediaError when the file cannot be opened or holds no video.
    """
    index = _demux(path)
    if index is None:
        index = _count(path)
    if not len(index):
        raise MediaError(f"{path}: contains no readable frame; replace or remove it")
    return index


def _demux(path: Path) -> VideoIndex | None:
    """Index by presentation times; None when packets lack them or share them."""
    container, stream = open_container(path)
    if container.format.name == "avi" and stream.codec_context.name in ("h264", "hevc"):
        # AVI has no presentation times; what FFmpeg guesses is off where these codecs reorder.
        container.close()
        return None
    with container:
        pts: list[int] = []
        dts: list[int] = []
        key: list[bool] = []
        shown: list[bool] = []
        duration: list[int] = []
        lost: list[str] = []
        corrupt = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                lost.append(f"{path.name}: reading ended after {len(pts)} frames ({_reason(error)})")
                break
            if packet.size == 0:
                continue
            if packet.pts is None:
                return None
            pts.append(packet.pts)
            dts.append(packet.pts if packet.dts is None else packet.dts)
            key.append(packet.is_keyframe)
            corrupt += packet.is_corrupt
            shown.append(not packet.is_discard)
            duration.append(packet.duration or 0)
        if corrupt:
            lost.append(f"{path.name}: {corrupt} frames are marked as damaged")
        if stream.frames > len(pts):
            lost.append(f"{path.name}: {stream.frames - len(pts)} of {stream.frames} frames are missing at the end")
        rate = stream.average_rate or stream.guessed_rate
        time_base, name = stream.time_base or Fraction(1, 1000), container.format.name
    packet_pts = np.array(pts, np.int64)
    visible = np.flatnonzero(np.array(shown, bool))
    order = visible[np.argsort(packet_pts[visible], kind="stable")]
    ordered = packet_pts[order]
    if len(ordered) > 1 and (np.diff(ordered) == 0).any():
        return None
    lost.extend(_gaps(ordered, float(time_base), path.name))
    span = float((ordered[-1] - ordered[0]) * time_base) if len(ordered) > 1 else 0.0
    return VideoIndex(
        path=path,
        format=name,
        time_base=time_base,
        fps=float(rate) if rate else ((len(ordered) - 1) / span if span else 25.0),
        packet_pts=packet_pts,
        packet_dts=np.array(dts, np.int64),
        packet_key=np.array(key, bool),
        pts=ordered,
        packet=order,
        durations=np.array(duration, np.int64)[order],
        counted=False,
        lost=tuple(lost),
    )


def _gaps(pts: np.ndarray, time_base: float, name: str) -> list[str]:
    """Describe holes in a video of otherwise constant rate: containers drop damaged packets without a word."""
    steps = np.diff(pts)
    if len(steps) < 10:
        return []
    usual = float(np.median(steps))
    regular = np.abs(steps - usual) <= 0.1 * usual
    if regular.mean() < 0.9:
        return []
    return [
        f"{name}: about {round(steps[at] / usual) - 1} frames are missing after {(pts[at] - pts[0]) * time_base:.2f} s"
        for at in np.flatnonzero(steps > 1.5 * usual)
    ]


def _count(path: Path) -> VideoIndex:
    """Index a file without usable time stamps by decoding it whole."""
    container, stream = open_container(path)
    with container:
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        stream.codec_context.skip_frame = "DEFAULT"
        lost: list[str] = []
        count = 0
        for packet in container.demux(stream):
            try:
                count += len(packet.decode())
            except av.error.FFmpegError as error:
                lost.append(f"{path.name}: a damaged packet after frame {count} ({_reason(error)})")
        name = container.format.name
    steps = np.arange(count, dtype=np.int64)
    ones = np.ones(count, np.int64)
    return VideoIndex(
        path, name, 1 / rate, float(rate), steps, steps, steps == 0, steps, steps, ones, True, tuple(lost)
    )


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).split("\n")[0].strip()
