"""A video written in segments, so that a stopped run can continue."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Final, Self

import av
import filelock
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.files import partial_folder, write_text
from facesmith.media.container_writer import ContainerWriter, require_sound_fits, require_suffix
from facesmith.media.provenance import Mark
from facesmith.media.timeline import Timeline
from facesmith.media.video_writer import VideoWriter

_STATE: Final = "about.json"


class SegmentedWriter:
    """Writes `<path>.partial/segment_00000.mp4` and so on, each playable by itself, and joins them in `close`.

    A segment holds whole groups of pictures and begins at a multiple of `frames`, whether or not the run was stopped
    before: joining copies packets, so the file that comes of it is the same. Sound comes in then. An exception inside
    `with` keeps the finished segments; one in the making is lost.

    Attributes:
        path: The video.
        folder: Folder of the segments.
        start: Number of the frame to begin with.
        tally: Whatever the caller counts; kept with the segments.
    """

    def __init__(
        self,
        path: Path,
        timeline: Timeline,
        *,
        mark: Mark,
        key: str,
        frames: int,
        resume: bool,
        crf: int,
        preset: str,
    ) -> None:
        """Lock the video and look for what an earlier run left.

        Args:
            path: .mp4, .mov or .mkv.
            timeline: Times of the frames, and the sound.
            mark: See `VideoWriter`.
            key: All that decides the pictures; an unfinished run with another is not resumed.
            frames: Frames of a segment.
            resume: Go on with an unfinished run; else it is an error.
            crf: See `VideoWriter`.
            preset: See `VideoWriter`.

        Raises:
            UserError: there is an unfinished run that does not fit, or another process is at it.
            MediaError: as `VideoWriter`.
        """
        require_suffix(path)
        require_sound_fits(path, timeline)
        self.path, self.folder = path, partial_folder(path)
        self.tally: Counter[str] = Counter()
        self._timeline, self._mark, self._frames = timeline, mark, frames
        self._encoding: dict[str, Any] = {"crf": crf, "preset": preset}
        self._key = key
        self._writer: VideoWriter | None = None
        self._segment = 0
        self._lock = self._acquire_lock()
        try:
            self.start = self._find_start(resume)
        except BaseException:
            self._lock.release()
            raise

    @property
    def kept(self) -> int:
        """Number of finished segments."""
        return len(self._segments())

    def write(self, rgb: NDArray[np.uint8], index: int) -> None:
        """Write the next frame.

        Args:
            rgb: (H, W, 3) uint8.
            index: Number of the source frame, ascending, from `start` on.
        """
        if self._writer is not None and index // self._frames != self._segment:
            self._finish()
        if self._writer is None:
            self._segment = index // self._frames
            name = self.folder / f"segment_{self._segment:05d}.mp4"
            self._writer = VideoWriter(name, self._timeline, mark=self._mark, sound=False, **self._encoding)
        self._writer.write(rgb, index)

    def close(self) -> None:
        """Join the segments to the finished file, and remove them."""
        self._finish()
        if self._segments():
            join_segments(self._segments(), self.path, self._timeline, mark=self._mark)
        self.discard()

    def suspend(self) -> None:
        """Keep the finished segments; without any nothing is left behind."""
        if self._writer is not None:
            self._writer.discard()
        if self._segments():
            self._lock.release()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the segments."""
        if self._writer is not None:
            self._writer.discard()
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.suspend()

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("segment_*.mp4"))

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            write_text(self.folder / _STATE, json.dumps({"key": self._key, "tally": self.tally}))

    def _acquire_lock(self) -> filelock.BaseFileLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{self.path}: another process is writing it; wait for it, or choose another") from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); choose another output") from None
        return lock

    def _find_start(self, resume: bool) -> int:
        """Return the number of the frame to begin with."""
        for left in self.folder.glob(".segment_*"):
            left.unlink()
        if not self._segments():
            return 0
        mend = f"remove {self.folder}"
        if not resume:
            raise UserError(f"{self.path}: contains an unfinished run; give resume=true to continue it, or {mend}")
        about = json.loads((self.folder / _STATE).read_text())
        if about["key"] != self._key:
            raise UserError(f"{self.path}: the unfinished run had another source, model or settings; {mend}")
        self.tally = Counter(about["tally"])
        whole = 0
        while (self.folder / f"segment_{whole:05d}.mp4").exists():
            whole += 1
        return min(whole * self._frames, len(self._timeline))


def join_segments(segments: list[Path], path: Path, timeline: Timeline, *, mark: Mark) -> None:
    """Put H.264 segments of one encoder and setting behind each other, pictures untouched, and add the sound.

    Args:
        segments: Their files, in order.
        path: The video.
        timeline: Times of the frames, and the sound.
        mark: Provenance of the video.
    """
    coded = np.concatenate([_coded_order(segment, timeline) for segment in segments])
    shown = np.sort(coded)
    late = int((np.arange(len(coded)) - np.searchsorted(shown, coded)).max())
    step = int(shown[1] - shown[0]) if len(shown) > 1 else 1
    # Each segment's decoder times were made without knowledge of its neighbours': one rule for all of them.
    before = shown[0] - step * np.arange(late, 0, -1)
    decoded = np.concatenate([before, shown])[: len(coded)]
    file = ContainerWriter(path, timeline, mark=mark)
    try:
        stream: Any = None
        place = 0
        for segment in segments:
            with av.open(str(segment)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = file.container.add_stream_from_template(video)
                    stream.time_base = timeline.time_base
                    file.start()
                for packet in source.demux(video):
                    if packet.size:
                        _place(packet, int(coded[place]), int(decoded[place]), timeline)
                        packet.stream = stream
                        file.mux(packet)
                        file.copy_sound(until=float(int(decoded[place]) * timeline.time_base))
                        place += 1
        file.close()
    except BaseException:
        file.discard()
        raise


def _coded_order(segment: Path, timeline: Timeline) -> NDArray[np.int64]:
    """Return presentation times of a segment's frames in the order of its packets, in units of the timeline."""
    with av.open(str(segment)) as source:
        video = source.streams.video[0]
        assert video.time_base is not None
        ratio = video.time_base / timeline.time_base
        return np.array([round(p.pts * ratio) for p in source.demux(video) if p.size and p.pts is not None], np.int64)


def _place(packet: "Packet[Any]", pts: int, dts: int, timeline: Timeline) -> None:
    packet.time_base = timeline.time_base
    packet.pts, packet.dts = pts, dts
    packet.duration = int(timeline.durations[int(np.searchsorted(timeline.pts, pts))])
