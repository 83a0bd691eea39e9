"""Several analyzers and recognisers at work, one a thread."""

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from facesmith.faces.face import Analyzer
from facesmith.tasks.evaluate.config import RecogniserName
from facesmith.tasks.evaluate.recognisers import CropRecogniser, load_recognisers

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 2  # items in work or waiting, a worker


@dataclass(frozen=True)
class Worker:
    """What one thread uses at a time."""

    analyzer: Analyzer
    recognisers: Sequence[CropRecogniser]


class WorkerPool:
    """Workers that are made when they are needed.

    Args:
        make: Makes an analyzer.
        recognisers: That each worker has.
        count: How many work at a time.
        arcface: The user's file of ArcFace; None: of the asset.
    """

    def __init__(
        self,
        make: Callable[[], Analyzer],
        recognisers: Sequence[RecogniserName],
        count: int,
        arcface: Path | None = None,
    ) -> None:
        self._make, self._recognisers, self._count, self._arcface = make, recognisers, count, arcface
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self.first = self._create()
        self._idle.put(self.first)

    def run(self, items: Iterable[T], job: Callable[[Worker, T], R]) -> Iterator[R]:
        """Yield what a job makes of each item, in no certain order; only few are in memory, whatever their number."""

        def run(item: T) -> R:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                worker = self._create()
            try:
                return job(worker, item)
            finally:
                self._idle.put(worker)

        rest = iter(items)
        waiting: set[Future[R]] = set()
        with ThreadPoolExecutor(self._count) as threads:
            try:
                while True:
                    while len(waiting) < _AHEAD * self._count and (item := next(rest, None)) is not None:
                        waiting.add(threads.submit(run, item))
                    if not waiting:
                        return
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield one.result()
            finally:
                threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Close all analyzers; none may be at work."""
        while not self._idle.empty():
            self._idle.get().analyzer.close()

    def _create(self) -> Worker:
        analyzer = self._make()
        return Worker(analyzer, load_recognisers(self._recognisers, analyzer, self._arcface))
