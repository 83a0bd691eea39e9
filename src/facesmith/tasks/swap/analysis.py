"""Find the faces in the frames of a video on several threads."""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Analyzer, Face
from facesmith.faces.tracking.propagation import detect_faces, propagate_faces, settle_faces
from facesmith.faces.tracking.stream import DetectedFrame
from facesmith.media.planes import PlaneFrame
from facesmith.tasks.swap.plane_analyzer import PlaneAnalyzer, plane_thumbnail

Frame = tuple[int, PlaneFrame]
"""Its number in the video, and its planes."""


SEARCH_EVERY: Final = 4
"""Runs of frames between two searches for turned and small faces, while there are none."""


class _Found(NamedTuple):
    """Faces of the first frame of a run, and whether it took a search to find them."""

    faces: list[Face]
    searched: bool


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
    starting in the middle of a video finds the same faces: a run of frames begins at a multiple of `every`. Where
    detection finds none, turned and small faces are searched for in one run of SEARCH_EVERY, and in those that follow
    one in which the search found some.

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

    def find(run: list[Frame], probe: Future[_Found] | None) -> _Found:
        # What it waits for was handed in before it, and waits for nothing.
        thorough = probe is None or probe.result().searched
        with analyzers.borrow() as analyzer:
            watched, frame = PlaneAnalyzer(analyzer), run[0][1]
            faces = detect_faces(watched, frame, embed=embed)
            if faces or not thorough:
                return _Found(faces, False)
            faces = settle_faces(watched, frame, watched.analyse(frame, watched.search(frame), embed=embed))
            return _Found(faces, bool(faces))

    def track(
        run: list[Frame], first: Future[_Found], after: tuple[PlaneFrame, Future[_Found]] | None
    ) -> list[list[Face]]:
        # Both were handed in before this: in a pool that takes work in order they run or are done.
        found, coming = first.result(), None if after is None else (after[0], after[1].result().faces)
        with analyzers.borrow() as analyzer:
            planes = [frame for _, frame in run]
            watched = PlaneAnalyzer(analyzer)
            return propagate_faces(
                watched,
                planes,
                found.faces,
                coming,
                embed=embed,
                thorough=found.searched,
                thumbnail=plane_thumbnail,
            )

    def take_oldest() -> Iterator[DetectedFrame[Frame]]:
        run, faces = waiting.popleft()
        for (number, frame), seen in zip(run, faces.result(), strict=True):
            yield DetectedFrame((number, frame), float(times[number]), plane_thumbnail(frame), seen)

    pool = ThreadPoolExecutor(workers)
    try:
        before: tuple[list[Frame], Future[_Found]] | None = None
        probe: Future[_Found] | None = None
        for run in _split_runs(frames, every):
            probing = probe is None or run[0][0] // every % SEARCH_EVERY == 0
            first = pool.submit(find, run, None if probing else probe)
            probe = first if probing else probe
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
