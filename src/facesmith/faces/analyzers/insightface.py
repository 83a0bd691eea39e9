"""The analyzer of insightface's buffalo_l: SCRFD finds, ArcFace recognises, MediaPipe places 478 points."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.analyzers import onnx_graph
from facesmith.faces.analyzers.landmarker import LandmarkerAnalyzer, compute_fingerprint, library_versions
from facesmith.faces.face import Detection, Floats, Pixels

_DETECTOR: Final = "det_10g.onnx"
_RECOGNISER: Final = "w600k_r50.onnx"
_WEIGHTS: Final = ("buffalo_l", "face_landmarker.task")
_STRIDE: Final = 32  # the detector's largest, px
_REVISION: Final = 2  # raised when the code here, or of the landmarker, changes what is answered
_log = logging.getLogger(__name__)


class InsightFaceAnalyzer(LandmarkerAnalyzer):
    """An `Analyzer` on insightface's classes and weights, which are for non-commercial use only.

    Source: Guo et al., SCRFD, 2021; Deng et al., ArcFace, 2019.
    """

    embedder = "arcface_w600k_r50"

    def __init__(self, *, detector_sizes: Sequence[int], min_score: float) -> None:
        """Load the models.

        Args:
            detector_sizes: Sides in px, multiples of 32, of the square into which a frame is fitted to look for faces,
                in turn until some are found.
            min_score: Detector's score, 0..1, below which a face does not count.

        Raises:
            UserError: weights cannot be had.
        """
        pack = _fetch_pack()
        _warn_of_licence()
        settings = {"detector_sizes": list(detector_sizes), "min_score": min_score}
        libraries = {"versions": library_versions("insightface", "mediapipe")}
        super().__init__(
            compute_fingerprint("insightface", _REVISION, _WEIGHTS, libraries, settings), detector_sizes, min_score
        )
        self._detector = SCRFD(str(pack / _DETECTOR), session=onnx_graph.create_session(pack / _DETECTOR))
        self._detector.det_thresh = min_score
        recogniser = pack / _RECOGNISER
        self._recogniser = ArcFaceONNX(str(recogniser), session=onnx_graph.create_session(recogniser))

    @property
    def embedding_size(self) -> int:
        """E: 512 for buffalo_l."""
        return int(self._recogniser.output_shape[-1])

    def detect_at(self, frame: Pixels, size: int) -> list[Detection]:
        """Find upright faces in a frame (H, W, 3) RGB shrunk to a longest side in px; px of the frame."""
        bgr = np.ascontiguousarray(frame[..., ::-1])
        side = max(_STRIDE, -(-size // _STRIDE) * _STRIDE)
        boxes, points = self._detector.detect(bgr, input_size=(side, side))
        return [
            Detection(box[:4].astype(np.float32), keypoints.astype(np.float32), float(box[4]))
            for box, keypoints in zip(boxes, points, strict=True)
        ]

    def embed_aligned(self, crops: Pixels) -> Floats:
        """Embed crops (N, 112, 112, 3) RGB on the template arcface_112_v2: (N, E), L2-normalised."""
        raw = np.zeros((len(crops), self.embedding_size), dtype=np.float32)
        for row, crop in zip(raw, crops, strict=True):
            row[:] = self._recogniser.get_feat(np.ascontiguousarray(crop[..., ::-1]))[0]
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def _fetch_pack() -> Path:
    try:
        return assets.fetch("buffalo_l")
    except UserError as error:
        raise UserError(
            f"analyzer=insightface: {error}; unpack buffalo_l.zip and set assets.dir to its folder, or use"
            " analyzer=mediapipe"
        ) from None


@functools.cache
def _warn_of_licence() -> None:
    _log.warning(
        "analyzer=insightface: the weights of buffalo_l are licensed for non-commercial research only;"
        " analyzer=mediapipe has no such limit"
    )
