"""Find the faces of frames on several threads."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Analyzer, Face

Pixels = npt.NDArray[np.uint8]


class FrameAnalysis:
    """Find the faces to swap; may be called from several threads.

    analyzer: makes one analyzer for every thread that comes at the same time; `close` gives them back.
    select: which faces of a frame.
    """

    def __init__(self, analyzer: Callable[[], Analyzer], *, select: Literal["largest", "all"]) -> None:
        self._make_analyzer = analyzer
        self._select = select
        self._idle: queue.SimpleQueue[Analyzer] = queue.SimpleQueue()

    def __call__(self, frame: Pixels) -> list[Face]:
        """The faces of a frame (H,W,3) RGB uint8, the largest first."""
        with self._analyzer() as analyzer:
            faces = analyzer(frame)
        return faces[:1] if self._select == "largest" else faces

    def close(self) -> None:
        """Give the analyzers back."""
        while not self._idle.empty():
            self._idle.get().close()

    @contextmanager
    def _analyzer(self) -> Iterator[Analyzer]:
        """Lend an analyzer to this thread alone."""
        try:
            analyzer = self._idle.get_nowait()
        except queue.Empty:
            analyzer = self._make_analyzer()
        try:
            yield analyzer
        finally:
            self._idle.put(analyzer)
