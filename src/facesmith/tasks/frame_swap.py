"""Swap the faces of one frame."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from facesmith.faces.align import estimate, warp
from facesmith.faces.face import Face
from facesmith.faces.paste import paste
from facesmith.swap_model import SwapModel

Pixels = npt.NDArray[np.uint8]


class FrameSwap:
    """Align, swap and paste the faces of a frame; may be called from several threads.

    model: the swapper. source: (E,) for models that take an identity, else None.
    """

    def __init__(self, model: SwapModel, *, source: npt.NDArray[np.float32] | None) -> None:
        self._model = model
        self._source = source

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Give the frame (H,W,3) RGB uint8 with these faces swapped; without a face it is the frame itself.

        The faces overlap in the order given: the first lies on top.
        """
        if not faces:
            return frame
        size = self._model.size
        matrices = [estimate(face.five, self._model.template, size) for face in faces]
        crops = np.stack([warp(frame, matrix, size) for matrix in matrices])
        swapped, masks = self._model(crops, self._source)
        for crop, mask, matrix in reversed(list(zip(swapped, masks, matrices, strict=True))):
            frame = paste(frame, crop, mask, matrix)
        return frame
