"""The SFace recogniser on onnxruntime."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.faces.analyzers import onnx_folding

NAME: Final = "sface"
SIZE: Final = 128


class SFaceEmbedder:
    """Tells people apart by 128 numbers. model: sface.onnx. Source: Zhong et al., SFace, 2021; OpenCV zoo."""

    def __init__(self, model: Path) -> None:
        free = {"data": {0: "faces"}, "fc1": {0: "faces"}}
        self._session = onnx_folding.session(onnx_folding.without_prelu(onnx_folding.folded(model, free=free)))

    def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, 128), L2-normalised, of crops (N, 112, 112, 3) RGB uint8 on the template arcface_112_v2."""
        if not len(crops):
            return np.zeros((0, SIZE), dtype=np.float32)
        blob = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        raw = np.asarray(self._session.run(["fc1"], {"data": blob})[0], dtype=np.float32)
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)
