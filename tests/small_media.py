"""Settings for quick extractions with the real analyzer, and small videos."""

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face_set.config import SelectionConfig, SmoothingConfig
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet

make_analyzer = partial(MediaPipeAnalyzer, detector_sizes=[320, 640], min_score=0.6)

EXTRACTION: dict[str, Any] = {
    "name": "somebody",
    "consent": "public_domain",
    "consent_note": "",
    "analyzer": make_analyzer,
    "backend": "pyav",
    "max_frames": 30,
    "people": "one",
    "selection": SelectionConfig(
        min_score=0.5, min_size=32, min_sharpness=10, max_yaw=60, max_pitch=40, min_similarity=0.4
    ),
    "smoothing": SmoothingConfig(window_seconds=0.25, polyorder=2),
    "workers": 1,
    "progress": False,
}


def extract_small(source: Path, root: Path, **changes: Any) -> FaceSet:
    """Extract with EXTRACTION, `changes` applied."""
    return extract(source, ExtractionSettings(root=root, **{**EXTRACTION, **changes}))


class Counting:
    """The real analyzer, which remembers the pictures it has analysed."""

    def __init__(self) -> None:
        self.analyzer = make_analyzer()
        self.seen: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.analyzer, name)

    def __call__(self, frame: np.ndarray) -> Any:
        self.seen.append(frame.tobytes())
        return self.analyzer(frame)


def write_video(path: Path, frames: list[np.ndarray], rate: int = 30) -> None:
    """Encode frames as H.264, nearly lossless."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, rate)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
