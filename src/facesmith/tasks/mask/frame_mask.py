"""What of the faces of one frame is visible."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.face import Face
from facesmith.faces.geometry.align import estimate, invert, warp
from facesmith.methods.occluder.grid import overlay
from facesmith.models.onnx.occlusion import Occluder

Pixels = npt.NDArray[np.uint8]


class FrameMask:
    """Predict masks of the faces of a frame; may be called from several threads.

    occluder: what tells the visible face. template: name in `faces.templates`, how faces are cut out for it.
    """

    def __init__(self, occluder: Occluder, template: str) -> None:
        self._occluder, self._template = occluder, template

    def mask(self, frame: Pixels, faces: Sequence[Face]) -> npt.NDArray[np.float32]:
        """Give the mask (H,W) 0..1 of a frame (H,W,3) RGB: 1 where one of the faces is visible."""
        height, width = frame.shape[:2]
        whole: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
        side = self._occluder.size
        for face in faces:
            matrix = estimate(face.five, self._template, side)
            (seen,) = self._occluder(warp(frame, matrix, side)[None], side)
            whole = np.maximum(whole, cv2.warpAffine(seen, invert(matrix), (width, height)))
        return whole

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Give the mask and its overlay side by side (H,2W,3) RGB, of one prediction; `apart` parts them."""
        mask = self.mask(frame, faces)
        grey = np.repeat(mask[..., None] * 255, 3, axis=2)
        return np.asarray(
            np.rint(np.concatenate([grey, overlay(frame.astype(np.float32), mask)], axis=1)).clip(0, 255), np.uint8
        )


def apart(pair: Pixels) -> tuple[Pixels, Pixels]:
    """Part what `FrameMask.swap` gave into mask and overlay, (H,W,3) each."""
    middle = pair.shape[1] // 2
    return np.ascontiguousarray(pair[:, :middle]), np.ascontiguousarray(pair[:, middle:])
