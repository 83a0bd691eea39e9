"""Work on a stream in order, on threads, holding only a few items at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.tracking.stream import HISTORY_SECONDS, StreamTracker, TrackedFrame
from facesmith.media.video import VideoReader
from facesmith.tasks.swap.faces import Analyzers, FaceChoice, Frame, analysed

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items while a thread of its own prepares up to `depth` of those to come.

    An exception of the source is raised where its item would have come.
    """
    end = object()
    iterator = iter(items)
    thread = ThreadPoolExecutor(1)
    try:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item  # type: ignore[misc]  # not the end mark, so a T
    finally:
        thread.shutdown(cancel_futures=True)


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Yield work(item) of every item in the items' order, with up to `depth` of them in the pool."""
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


Pixels = npt.NDArray[np.uint8]

_AHEAD: Final = 4  # frames ready before and after the work: they bridge the uneven pace of decoder and encoder


class SwapsFrames(Protocol):
    """What makes a picture of a frame and its faces; called from several threads."""

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Return what becomes of a frame (H,W,3) RGB."""
        ...


@dataclass(frozen=True, slots=True)
class SwappedFrame:
    """number: in the video. picture: (H,W,3) RGB uint8. faces: how many were swapped. bridged: of these, how
    many the analyzer did not see.
    """

    number: int
    picture: Pixels
    faces: int
    bridged: int


@dataclass(frozen=True, slots=True)
class _Chosen:
    number: int
    picture: Pixels
    faces: list[Face]
    bridged: int


class VideoSwap:
    """Swap the faces of one video after the other.

    analyzers, swap: shared by the threads. choice: makes the chooser of a video. embed: whether it needs
    embeddings. smoothing, max_gap: see StreamTracker. every: see `analysed`. workers: threads that analyse, and as
    many that swap. Memory holds some dozen frames, however long the video.
    """

    def __init__(
        self,
        analyzers: Analyzers,
        swap: SwapsFrames,
        *,
        choice: Callable[[], FaceChoice],
        embed: bool,
        smoothing: SmoothingConfig,
        max_gap: float,
        every: int,
        workers: int,
    ) -> None:
        self._analyzers = analyzers
        self._swap = swap
        self._choice = choice
        self._embed = embed
        self._smoothing = smoothing
        self._max_gap = max_gap
        self._every = every
        self._workers = workers

    def __call__(self, reader: VideoReader, start: int = 0) -> Generator[SwappedFrame, None, None]:
        """Return the frames from `start` on; those that the file does not yield are left out."""
        begin = self._warm_up(reader.times, start)
        frames = ahead(reader.frames(range(begin, len(reader))), _AHEAD)
        seen = analysed(
            frames, reader.times, self._analyzers, every=self._every, embed=self._embed, workers=self._workers
        )
        chosen = self._chosen(StreamTracker[Frame](smoothing=self._smoothing, max_gap=self._max_gap)(seen), start)
        pool = ThreadPoolExecutor(self._workers)
        try:
            yield from ahead(in_order(pool, self._swapped, chosen, 2 * self._workers), _AHEAD)
        finally:
            pool.shutdown(cancel_futures=True)

    def _warm_up(self, times: npt.NDArray[np.float64], start: int) -> int:
        """The frame to begin with so that from `start` on all is as if one had begun with the first."""
        if start == 0:
            return 0
        needed = float(times[start]) - HISTORY_SECONDS - self._max_gap - self._smoothing.window_seconds
        return int(np.searchsorted(times, needed)) // self._every * self._every

    def _chosen(self, frames: Iterator[TrackedFrame[Frame]], start: int) -> Iterator[_Chosen]:
        choice = self._choice()
        for tracked in frames:
            chosen = choice(tracked.faces)
            number, picture = tracked.item
            if number >= start:
                bridged = sum(tracked.faces[track] is face for track in tracked.bridged for face in chosen)
                yield _Chosen(number, picture, chosen, bridged)

    def _swapped(self, chosen: _Chosen) -> SwappedFrame:
        picture = self._swap.swap(chosen.picture, chosen.faces)
        return SwappedFrame(chosen.number, picture, len(chosen.faces), chosen.bridged)
