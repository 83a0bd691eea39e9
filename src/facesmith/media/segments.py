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
from facesmith.media.container_writer import ContainerWriter, require_sound_fits
from facesmith.media.encoders import Encoding
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark
from facesmith.media.timeline import Timeline
from facesmith.media.video_writer import Scale, VideoWriter, require_codec_fits

_ENDINGS: Final = (".mp4", ".mov", ".mkv")


class SegmentedWriter:
    """Writes `<path>.partial/segment_00000.mp4` and so on, each playable by itself, and joins them in `close`.

    Beside each segment lies its record, `segment_00000.json`; a segment without one was not finished. A segment holds
    whole groups of pictures and begins at a multiple of `frames`, whether or not the run was stopped before: joining
    copies packets, so the file that comes of it is the same. Sound comes in then. An exception inside `with` keeps the
    finished segments; one in the making is lost.

    Attributes:
        path: The video.
        folder: Folder of the segments.
        start: Number of the frame to begin with.
        tally: Whatever the caller counts; kept with the segments.
        memory: Whatever else the caller goes on with, plain values; kept with the segments.
        notes: What the user should know, one sentence each.
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
        encoding: Encoding,
        scale: Scale | None = None,
    ) -> None:
        """Lock the video and look for what an earlier run left.

        Args:
            path: .mp4, .mov or .mkv.
            timeline: Times of the frames, and the sound.
            mark: See `VideoWriter`.
            key: All that decides the pictures; an unfinished run with another is not resumed.
            frames: Frames of a segment.
            resume: Go on with an unfinished run; else it is an error.
            encoding: See `VideoWriter`.
            scale: See `VideoWriter`.

        Raises:
            UserError: there is an unfinished run that does not fit, or another process is at it.
            MediaError: as `VideoWriter`.
        """
        require_codec_fits(path, encoding)
        require_sound_fits(path, timeline.source)
        self.path, self.folder = path, partial_folder(path)
        self.tally: Counter[str] = Counter()
        self.memory: dict[str, Any] = {}
        self._timeline, self._mark, self._frames = timeline, mark, frames
        self._encoding, self._scale = encoding, scale
        self.notes: list[str] = []
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

    def write(self, picture: NDArray[np.uint8] | PlaneFrame, index: int) -> None:
        """Write the next frame.

        Args:
            picture: See `VideoWriter.write`.
            index: Number of the source frame, ascending, from `start` on.
        """
        if self._writer is not None and index // self._frames != self._segment:
            self._finish()
        if self._writer is None:
            self._segment = index // self._frames
            self._writer = VideoWriter(
                self._name(self._segment),
                self._timeline,
                mark=self._mark,
                sound=False,
                encoding=self._encoding,
                scale=self._scale,
            )
        self._writer.write(picture, index)

    def close(self) -> None:
        """Join the segments to the finished file, and remove them."""
        self._finish()
        if self._segments():
            left_out = join_segments(self._segments(), self.path, self._timeline, mark=self._mark)
            if left_out:
                what = ", ".join(left_out)
                self.notes.append(f"{self.path}: {self.path.suffix} cannot hold {what} of the source; left out")
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
        return sorted(path for path in self.folder.glob("segment_*") if path.suffix in _ENDINGS)

    def _name(self, segment: int) -> Path:
        return self.folder / f"segment_{segment:05d}{self._encoding.segment_suffix}"

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            record = json.dumps({"key": self._key, "tally": self.tally, "memory": self.memory})
            write_text(self._name(self._segment).with_suffix(".json"), record)

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
        for left in self.folder.glob(".unfinished-*"):
            left.unlink()
        found = self._segments()
        if not found:
            return 0
        mend = f"remove {self.folder}"
        if not resume:
            raise UserError(f"{self.path}: contains an unfinished run; give resume=true to continue it, or {mend}")
        whole = 0
        while (record := self._read_record(self._name(whole))) is not None:
            if record["key"] != self._key:
                raise UserError(f"{self.path}: the unfinished run had another source, model or settings; {mend}")
            self.tally, self.memory = Counter(record["tally"]), record["memory"]
            whole += 1
        lost = [path for path in found if path not in {self._name(number) for number in range(whole)}]
        for path in lost:
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)
        if lost:
            self.notes.append(
                f"{self.path}: {len(lost)} of {len(found)} segments of the stopped run have no whole record; "
                f"begun again after segment {whole}"
            )
        return min(whole * self._frames, len(self._timeline))

    @staticmethod
    def _read_record(segment: Path) -> dict[str, Any] | None:
        """Return key and tally of a finished segment; None where it or its record is missing or broken."""
        try:
            record = json.loads(segment.with_suffix(".json").read_text(encoding="utf-8"))
            with av.open(f"file:{segment}") as container:
                readable = bool(container.streams.video)
        except (OSError, ValueError, av.error.FFmpegError):
            return None
        whole = isinstance(record, dict) and isinstance(record.get("key"), str)
        whole = whole and all(isinstance(record.get(name), dict) for name in ("tally", "memory"))
        return record if readable and whole else None


def join_segments(segments: list[Path], path: Path, timeline: Timeline, *, mark: Mark) -> list[str]:
    """Put segments of one encoder and setting behind each other, pictures untouched, and add the sound.

    Args:
        segments: Their files, in order.
        path: The video.
        timeline: Times of the frames, and the sound.
        mark: Provenance of the video.

    Returns:
        What of the source the container cannot hold, in a few words each.
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
            with av.open(f"file:{segment}") as source:
                video = source.streams.video[0]
                if stream is None:
                    # The decoder's name need not be an encoder's: libdav1d.
                    stream = file.container.add_stream_from_template(video, opaque=video.codec.name == "libdav1d")
                    stream.time_base = timeline.time_base
                    stream.codec_context.framerate = timeline.rate  # of a time code's frames
                    if video.sample_aspect_ratio:
                        stream.codec_context.sample_aspect_ratio = video.sample_aspect_ratio
                    stream.metadata.update(timeline.tags_of_stream)
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
    return file.left_out


def _coded_order(segment: Path, timeline: Timeline) -> NDArray[np.int64]:
    """Return presentation times of a segment's frames in the order of its packets, in units of the timeline."""
    with av.open(f"file:{segment}") as source:
        video = source.streams.video[0]
        assert video.time_base is not None
        ratio = video.time_base / timeline.time_base
        times = np.array([float(p.pts * ratio) for p in source.demux(video) if p.size and p.pts is not None])
    # The nearest: a container may have rounded them.
    after = np.clip(np.searchsorted(timeline.pts, times), 1, max(len(timeline) - 1, 1))
    after = np.minimum(after, len(timeline) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(timeline.pts[before] - times) <= np.abs(timeline.pts[after] - times)
    return np.asarray(timeline.pts[np.where(nearer, before, after)], np.int64)


def _place(packet: "Packet[Any]", pts: int, dts: int, timeline: Timeline) -> None:
    packet.time_base = timeline.time_base
    packet.pts, packet.dts = pts, dts
    packet.duration = int(timeline.durations[int(np.searchsorted(timeline.pts, pts))])
