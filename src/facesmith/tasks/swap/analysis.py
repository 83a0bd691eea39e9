"""Find the faces in the frames of a video on several threads."""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Analyzer, Face
from facesmith.faces.tracking.propagation import detect_faces, propagate_faces
from facesmith.faces.tracking.stream import DetectedFrame
from facesmith.media.planes import PlaneFrame
from facesmith.tasks.swap.plane_analyzer import PlaneAnalyzer, plane_thumbnail

Frame = tuple[int, PlaneFrame]
"""Its number in the video, and its planes."""


class AnalyzerPool:
    """Analyzers for several threads: each is used by one thread at a time."""

    def __init__(self, make: Callable[[], Analyzer]) -> None:
        """Start without analyzers.

        Args:
            make: Makes an analyzer; called whenever all are in use.
        """
        self._make = make
        self._idle: queue.SimpleQueue[Analyzer] = queue.SimpleQueue()

    @contextmanager
    def borrow(self) -> Iterator[Analyzer]:
        """Borrow an analyzer for this thread alone."""
        try:
            analyzer = self._idle.get_nowait()
        except queue.Empty:
            analyzer = self._make()
        try:
            yield analyzer
        finally:
            self._idle.put(analyzer)

    def close(self) -> None:
        """Close all analyzers."""
        while not self._idle.empty():
            self._idle.get().close()


def analyze_frames(
    frames: Iterable[Frame],
    times: npt.NDArray[np.float64],
    analyzers: AnalyzerPool,
    *,
    every: int,
    embed: bool,
    workers: int,
) -> Iterator[DetectedFrame[Frame]]:
    """Find the faces in the frames of a video, several frames at a time.

    Faces are detected in one frame of `every` and tracked in between. Nothing depends on the number of workers, and
    starting in the middle of a video finds the same faces: a run of frames begins at a multiple of `every`.

    Args:
        frames: Frames in order.
        times: Seconds of all frames of the video, (N,).
        analyzers: Shared by the threads.
        every: Frames between two detections.
        embed: Whether detected faces get an embedding; tracked ones have none.
        workers: Number of threads.

    Yields:
        The frames with their faces, in order.
    """
    waiting: deque[tuple[list[Frame], Future[list[list[Face]]]]] = deque()

    def find(run: list[Frame]) -> list[Face]:
        with analyzers.borrow() as analyzer:
            return detect_faces(PlaneAnalyzer(analyzer), run[0][1], embed=embed)

    def track(
        run: list[Frame], first: Future[list[Face]], after: tuple[PlaneFrame, Future[list[Face]]] | None
    ) -> list[list[Face]]:
        # Both were handed in before this: in a pool that takes work in order they run or are done.
        faces, coming = first.result(), None if after is None else (after[0], after[1].result())
        with analyzers.borrow() as analyzer:
            planes = [frame for _, frame in run]
            watched = PlaneAnalyzer(analyzer)
            return propagate_faces(watched, planes, faces, coming, embed=embed, thumbnail=plane_thumbnail)

    def take_oldest() -> Iterator[DetectedFrame[Frame]]:
        run, faces = waiting.popleft()
        for (number, frame), seen in zip(run, faces.result(), strict=True):
            yield DetectedFrame((number, frame), float(times[number]), plane_thumbnail(frame), seen)

    pool = ThreadPoolExecutor(workers)
    try:
        before: tuple[list[Frame], Future[list[Face]]] | None = None
        for run in _split_runs(frames, every):
            first = pool.submit(find, run)
            if before is not None:
                waiting.append((before[0], pool.submit(track, *before, (run[0][1], first))))
            before = run, first
            while len(waiting) > workers:
                yield from take_oldest()
        if before is not None:
            waiting.append((before[0], pool.submit(track, *before, None)))
        while waiting:
            yield from take_oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _split_runs(frames: Iterable[Frame], every: int) -> Iterator[list[Frame]]:
    run: list[Frame] = []
    for number, frame in frames:
        if run and number // every != run[0][0] // every:
            yield run
            run = []
        run.append((number, frame))
    if run:
        yield run
