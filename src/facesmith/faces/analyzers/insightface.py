"""The analyzer of insightface's buffalo_l: SCRFD finds, ArcFace recognises, MediaPipe places 478 points."""

import functools
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.analyzers import onnx_graph
from facesmith.faces.analyzers.landmarker import Landmarker, build_faces, find_crop_landmarks
from facesmith.faces.face import Detection, Face, Floats, Pixels

_DETECTOR: Final = "det_10g.onnx"
_RECOGNISER: Final = "w600k_r50.onnx"
_REVISION: Final = 1
_log = logging.getLogger(__name__)


class InsightFaceAnalyzer:
    """An Analyzer on insightface's classes and weights, which are for non-commercial use only.

    detector_sizes: sides in px, multiples of 32, of the square into which a frame is fitted to look for
    faces, in turn until some are found. min_score: detector's score, 0..1, below which a face does not
    count. Raises UserError when weights cannot be had. Source: Guo et al., SCRFD, 2021; Deng et al., ArcFace,
    2019.
    """

    embedder: Final = "arcface_w600k_r50"

    def __init__(self, *, detector_sizes: Sequence[int], min_score: float) -> None:
        self.dropped = 0
        """How many detections had no landmarks, or were a second detection of one face, so far."""
        pack = _pack()
        _tell_licence()
        self._fingerprint = _fingerprint(detector_sizes, min_score)
        self._sizes = tuple(detector_sizes)
        self._detector = SCRFD(str(pack / _DETECTOR), session=onnx_graph.create_session(pack / _DETECTOR))
        self._detector.det_thresh = min_score
        self._recogniser = ArcFaceONNX(str(pack / _RECOGNISER), session=onnx_graph.create_session(pack / _RECOGNISER))
        self._landmarker = Landmarker(assets.fetch("face_landmarker.task"))

    @property
    def embedding_size(self) -> int:
        """E: 512 for buffalo_l."""
        return int(self._recogniser.output_shape[-1])

    @property
    def fingerprint(self) -> str:
        """Hash of weights, settings and library versions that decide the results."""
        return self._fingerprint

    def __call__(self, frame: Pixels) -> list[Face]:
        """All faces of a frame (H, W, 3) RGB uint8, the largest first."""
        detections = self.detect(frame)
        faces = self.faces(frame, detections, embed=True)
        self.dropped += len(detections) - len(faces)
        return faces

    def detect(self, frame: Pixels) -> list[Detection]:
        """Where faces may be in a frame (H, W, 3) RGB uint8."""
        bgr = np.ascontiguousarray(frame[..., ::-1])
        for size in self._sizes:
            boxes, points = self._detector.detect(bgr, input_size=(size, size))
            if len(boxes):
                return [
                    Detection(
                        box=box[:4].astype(np.float32), keypoints=keypoints.astype(np.float32), score=float(box[4])
                    )
                    for box, keypoints in zip(boxes, points, strict=True)
                ]
        return []

    def faces(self, frame: Pixels, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """The faces behind detections, the largest first; without `embed` their embeddings are NaN."""
        recogniser = self.embed_aligned if embed else None
        return build_faces(frame, detections, self._landmarker, recogniser, self.embedding_size)

    def landmarks(self, crops: Sequence[Pixels]) -> list[tuple[Floats, Floats] | None]:
        """Of each crop (S, S, 3) RGB uint8 of one face: (478, 3) px and (52,); None if no face is seen."""
        return find_crop_landmarks(crops, self._landmarker)

    def embed_aligned(self, crops: npt.NDArray[np.uint8]) -> Floats:
        """(N, E), L2-normalised, of crops (N, 112, 112, 3) RGB uint8 on the template arcface_112_v2."""
        raw = np.zeros((len(crops), self.embedding_size), dtype=np.float32)
        for row, crop in zip(raw, crops, strict=True):
            row[:] = self._recogniser.get_feat(np.ascontiguousarray(crop[..., ::-1]))[0]
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)

    def close(self) -> None:
        """Gives the native sessions back."""
        self._landmarker.close()


def _pack() -> Path:
    try:
        return assets.fetch("buffalo_l")
    except UserError as error:
        raise UserError(
            f"analyzer=insightface: {error}; unpack buffalo_l.zip and set assets.dir to its folder, or use"
            " analyzer=mediapipe"
        ) from None


@functools.cache
def _tell_licence() -> None:
    _log.warning(
        "analyzer=insightface: the weights of buffalo_l are licensed for non-commercial research only;"
        " analyzer=mediapipe has no such limit"
    )


def _fingerprint(detector_sizes: Sequence[int], min_score: float) -> str:
    facts = {
        "analyzer": "insightface",
        "revision": _REVISION,
        "weights": {name: assets.sha256(name) for name in ("buffalo_l", "face_landmarker.task")},
        "versions": {name: importlib.metadata.version(name) for name in ("insightface", "mediapipe")},
        "detector_sizes": list(detector_sizes),
        "min_score": min_score,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
