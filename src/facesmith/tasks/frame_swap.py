"""Swap the faces of one frame."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import numpy.typing as npt

from facesmith.faces.align import estimate, warp
from facesmith.faces.face import Analyzer
from facesmith.faces.paste import paste
from facesmith.swap_model import SwapModel

Pixels = npt.NDArray[np.uint8]


class FrameSwap:
    """Analyse, align, swap and paste; may be called from several threads.

    model: the swapper. source: (E,) for models that take an identity, else None. analyzer: makes one analyzer
    for every thread that comes at the same time; `close` gives them back. select: which faces of a frame.
    """

    def __init__(
        self,
        model: SwapModel,
        analyzer: Callable[[], Analyzer],
        *,
        source: npt.NDArray[np.float32] | None,
        select: Literal["largest", "all"],
    ) -> None:
        self._model = model
        self._make_analyzer = analyzer
        self._source = source
        self._select = select
        self._idle: queue.SimpleQueue[Analyzer] = queue.SimpleQueue()

    def __call__(self, frame: Pixels) -> tuple[Pixels, int]:
        """Give the frame (H,W,3) RGB uint8 with its faces swapped, and how many they were.

        Without a face it is the frame itself.
        """
        with self._analyzer() as analyzer:
            faces = analyzer(frame)
        if self._select == "largest":
            faces = faces[:1]
        if not faces:
            return frame, 0
        size = self._model.size
        matrices = [estimate(face.five, self._model.template, size) for face in faces]
        crops = np.stack([warp(frame, matrix, size) for matrix in matrices])
        swapped, masks = self._model(crops, self._source)
        # The largest face is the nearest: it is pasted last, over the others.
        for crop, mask, matrix in reversed(list(zip(swapped, masks, matrices, strict=True))):
            frame = paste(frame, crop, mask, matrix)
        return frame, len(faces)

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
