"""Analyzers and recognisers, of which each thread borrows its own."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facesmith.faces.face import Analyzer
from facesmith.tasks.batch import require_same_analyzer
from facesmith.tasks.evaluate.config import RecogniserName
from facesmith.tasks.evaluate.recognisers import CropRecogniser, load_recognisers


@dataclass(frozen=True)
class Worker:
    """What one thread uses at a time."""

    analyzer: Analyzer
    recognisers: Sequence[CropRecogniser]


class WorkerPool:
    """Workers that are made when they are needed. It pickles as what makes them.

    Args:
        make: Makes an analyzer.
        recognisers: That each worker has.
        arcface: The user's file of ArcFace; None: of the asset.

    Attributes:
        first: One of them.
    """

    def __init__(
        self, make: Callable[[], Analyzer], recognisers: Sequence[RecogniserName], arcface: Path | None = None
    ) -> None:
        self._make, self._recognisers, self._arcface = make, recognisers, arcface
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self.first = self._create()
        self._idle.put(self.first)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the settings, and as what tells the analyzer from others."""
        return _load, (self._make, self._recognisers, self._arcface, self.first.analyzer.fingerprint)

    @contextmanager
    def borrow(self) -> Iterator[Worker]:
        """Yield a worker that nobody else has meanwhile."""
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = self._create()
        try:
            yield worker
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Close all analyzers; none may be at work."""
        while not self._idle.empty():
            self._idle.get().analyzer.close()

    def _create(self) -> Worker:
        analyzer = self._make()
        return Worker(analyzer, load_recognisers(self._recognisers, analyzer, self._arcface))


def _load(
    make: Callable[[], Analyzer], recognisers: Sequence[RecogniserName], arcface: Path | None, fingerprint: str
) -> WorkerPool:
    pool = WorkerPool(make, recognisers, arcface)
    require_same_analyzer(pool.first.analyzer, fingerprint)
    return pool
