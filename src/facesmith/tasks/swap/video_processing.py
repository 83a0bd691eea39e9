"""Process the faces of a video, frame by frame, on several threads."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.tracking.stream import HISTORY_SECONDS, StreamTracker, TrackedFrame
from facesmith.media.deinterlace import deinterlace
from facesmith.media.planes import PlaneFrame
from facesmith.media.video import VideoReader, read_planes
from facesmith.tasks.swap.analysis import SEARCH_EVERY, AnalyzerPool, Frame, analyze_frames
from facesmith.tasks.swap.config import MediaTaskConfig
from facesmith.tasks.swap.face_selection import FaceSelector, SelectedFace, count_turned

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")
Process = Callable[[Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]], Sequence[P]]
"""From frames and the faces in them to pictures, one each; called from several threads."""

_MAX_WORKERS: Final = 4
_AHEAD: Final = 4  # frames ready before and after the work: they bridge the uneven pace of decoder and encoder


@dataclass(frozen=True, slots=True)
class ProcessedFrame(Generic[P]):
    """A frame that was processed.

    Attributes:
        number: Its number in the video.
        picture: What was made of it.
        faces: The faces that were processed.
        bridged: How many of them the analyzer did not see.
        turned: How many of them are turned far, see `count_turned`.
    """

    number: int
    picture: P
    faces: Sequence[SelectedFace]
    bridged: int
    turned: int


@dataclass(frozen=True, slots=True)
class _Selected:
    number: int
    picture: PlaneFrame
    faces: list[SelectedFace]
    bridged: int


class VideoProcessor(Generic[P]):
    """Process the faces of one video after the other; memory holds some dozen frames, however long a video is."""

    def __init__(
        self,
        analyzers: AnalyzerPool,
        process: Process[P],
        config: MediaTaskConfig,
        *,
        embed: bool = False,
        batch: int = 1,
        deinterlaces: bool = False,
    ) -> None:
        """Set how videos are processed.

        Args:
            analyzers: Shared by the threads.
            process: Makes the pictures of frames and their selected faces.
            config: Settings of detection, smoothing and threads.
            embed: Whether the selector needs embeddings.
            batch: How many frames are processed at once.
            deinterlaces: Whether interlaced frames become progressive.
        """
        self._analyzers = analyzers
        self._process = process
        self._embed = embed
        self._batch = batch
        self._deinterlaces = deinterlaces
        self._smoothing = SmoothingConfig(window_seconds=config.smoothing, polyorder=config.smoothing_order)
        self._max_gap = config.max_gap
        self._every = config.detect_every
        self._workers = config.workers or min(os.cpu_count() or 1, _MAX_WORKERS)

    def __call__(
        self,
        reader: VideoReader,
        frames: range,
        select: FaceSelector,
        first: int = 0,
        largest: Sequence[float] | None = None,
    ) -> Generator[ProcessedFrame[P], None, None]:
        """Process frames of a video.

        Args:
            reader: The video; frames that it cannot decode are skipped.
            frames: Numbers of the frames; what comes is the same as if one had begun with frame 0.
            select: Selects the faces of this video.
            first: Number of the frame with which the first batch begins.
            largest: Box of the largest face in the frame before `frames`, as it was selected; None where none was.

        Yields:
            The processed frames, in order.
        """
        begin = self._warm_up(reader.times, frames.start)
        end = min(frames.stop + self._look_ahead(reader.times, frames.stop), len(reader))
        planes = read_planes(reader, range(begin, end))
        if self._deinterlaces:
            planes = deinterlace(planes)
        detected = analyze_frames(
            prefetch(planes, _AHEAD),
            reader.times,
            self._analyzers,
            every=self._every,
            embed=self._embed,
            workers=self._workers,
        )
        tracked = StreamTracker[Frame](smoothing=self._smoothing, max_gap=self._max_gap)(detected)
        groups = self._group(_select(tracked, frames, select, largest), first)
        pool = ThreadPoolExecutor(self._workers)
        try:
            for done in prefetch(map_in_order(pool, self._process_group, groups, 2 * self._workers), _AHEAD):
                yield from done
        finally:
            pool.shutdown(cancel_futures=True)

    def _warm_up(self, times: npt.NDArray[np.float64], start: int) -> int:
        """Return the frame to begin with, so that tracks and smoothing at `start` are as if begun with frame 0."""
        if start == 0:
            return 0
        needed = float(times[start]) - HISTORY_SECONDS - self._max_gap - self._smoothing.window_seconds
        group = SEARCH_EVERY * self._every
        return int(np.searchsorted(times, needed)) // group * group

    def _look_ahead(self, times: npt.NDArray[np.float64], stop: int) -> int:
        """Return how many frames after the last one decide its faces: tracks and smoothing look ahead."""
        if stop >= len(times):
            return 0
        needed = float(times[stop - 1]) + self._max_gap + self._smoothing.window_seconds
        after = int(np.searchsorted(times, needed, side="right"))
        return -(-after // self._every) * self._every + 1 - stop

    def _group(self, frames: Iterator[_Selected], first: int) -> Iterator[list[_Selected]]:
        """Gather frames that are processed at once: whole batches counted from `first`, wherever one begins."""
        group: list[_Selected] = []
        for frame in frames:
            if group and (frame.number - first) // self._batch != (group[0].number - first) // self._batch:
                yield group
                group = []
            group.append(frame)
        if group:
            yield group

    def _process_group(self, group: list[_Selected]) -> list[ProcessedFrame[P]]:
        pictures = self._process([(frame.picture, frame.faces) for frame in group])
        return [
            ProcessedFrame(
                frame.number, picture, frame.faces, frame.bridged, count_turned([one.face for one in frame.faces])
            )
            for frame, picture in zip(group, pictures, strict=True)
        ]


def _select(
    tracked_frames: Iterator[TrackedFrame[Frame]],
    frames: range,
    select: FaceSelector,
    largest: Sequence[float] | None,
) -> Iterator[_Selected]:
    for tracked in tracked_frames:
        faces = select(tracked.faces)
        number, picture = tracked.item
        if number >= frames.stop:
            return
        if number == frames.start - 1 and largest is not None:
            select.hold_largest(tracked.faces, largest)
        if number >= frames.start:
            bridged = sum(tracked.faces[track] is one.face for track in tracked.bridged for one in faces)
            yield _Selected(number, picture, faces, bridged)


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """Prepare items on a thread of their own.

    Args:
        items: The source; its exception is raised where its item would have come.
        depth: How many items are prepared ahead.

    Yields:
        The items, in order.
    """
    end = object()
    iterator = iter(items)
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield cast(T, item)  # not the end mark
    finally:
        thread.shutdown(cancel_futures=True)


def map_in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Work on items in a pool.

    Args:
        pool: Where the work is done.
        work: Called with each item.
        items: The source.
        depth: How many items are in the pool at most.

    Yields:
        The results, in the order of the items.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
