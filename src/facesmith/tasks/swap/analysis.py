"""Find the faces of pictures and of videos, on several threads."""

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Analyzer, Face
from facesmith.faces.tracking.face_stream import Seen
from facesmith.faces.tracking.following import detect, follow
from facesmith.faces.tracking.tracks import thumbnail

Pixels = npt.NDArray[np.uint8]
Frame = tuple[int, Pixels]
"""Its number in the video, and (H, W, 3) RGB uint8."""


class Analyzers:
    """One analyzer for every thread that comes at the same time. make: makes one; `close` gives all back."""

    def __init__(self, make: Callable[[], Analyzer]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[Analyzer] = queue.SimpleQueue()

    @contextmanager
    def lend(self) -> Iterator[Analyzer]:
        """Lend an analyzer to this thread alone."""
        try:
            analyzer = self._idle.get_nowait()
        except queue.Empty:
            analyzer = self._make()
        try:
            yield analyzer
        finally:
            self._idle.put(analyzer)

    def close(self) -> None:
        """Give the analyzers back."""
        while not self._idle.empty():
            self._idle.get().close()


def analysed(
    frames: Iterable[Frame],
    times: npt.NDArray[np.float64],
    analyzers: Analyzers,
    *,
    every: int,
    embed: bool,
    workers: int,
) -> Iterator[Seen[Frame]]:
    """Give the frames of a video with their faces, in order, analysed side by side.

    times: (N,) seconds of all its frames. every: each so many frames faces are looked for, in between they are
    followed. Runs begin at multiples of it, and nothing depends on the number of workers: one who begins in
    the middle of a video finds the same. embed: whether recognition is needed; then each face found has an
    embedding, those followed have none.
    """
    waiting: deque[tuple[list[Frame], Future[list[list[Face]]]]] = deque()

    def found(run: list[Frame]) -> list[Face]:
        with analyzers.lend() as analyzer:
            return detect(analyzer, run[0][1], embed=embed)

    def followed(
        run: list[Frame], first: Future[list[Face]], after: tuple[Pixels, Future[list[Face]]] | None
    ) -> list[list[Face]]:
        # Both were handed in before this: in a pool that takes work in order they run or are done.
        faces, coming = first.result(), None if after is None else (after[0], after[1].result())
        with analyzers.lend() as analyzer:
            return follow(analyzer, [frame for _, frame in run], faces, coming, embed=embed)

    def oldest() -> Iterator[Seen[Frame]]:
        run, faces = waiting.popleft()
        for (number, frame), seen in zip(run, faces.result(), strict=True):
            yield Seen((number, frame), float(times[number]), thumbnail(frame), seen)

    pool = ThreadPoolExecutor(workers)
    try:
        before: tuple[list[Frame], Future[list[Face]]] | None = None
        for run in _runs(frames, every):
            first = pool.submit(found, run)
            if before is not None:
                waiting.append((before[0], pool.submit(followed, *before, (run[0][1], first))))
            before = run, first
            while len(waiting) > workers:
                yield from oldest()
        if before is not None:
            waiting.append((before[0], pool.submit(followed, *before, None)))
        while waiting:
            yield from oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _runs(frames: Iterable[Frame], every: int) -> Iterator[list[Frame]]:
    run: list[Frame] = []
    for number, frame in frames:
        if run and number // every != run[0][0] // every:
            yield run
            run = []
        run.append((number, frame))
    if run:
        yield run
