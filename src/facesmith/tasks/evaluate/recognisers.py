"""The recognisers of an evaluation: one interface for the analyzer's, dlib's, faceres and ArcFace."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.assets import UnreachableError, fetch
from facesmith.faces.analyzers.onnx_graph import create_session
from facesmith.faces.face import Analyzer
from facesmith.files import file_sha256
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.models.recognisers import FACERES_CROP, FACERES_MEANS, ArcFace, convert_faceres
from facesmith.tasks.evaluate.config import RecogniserName

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Measure = Literal["cosine", "distance"]


class CropRecogniser(Protocol):
    """Embeds crops (S,S,3) RGB on `arcface_128`. Not thread-safe.

    Attributes:
        name: In tables.
        measure: How embeddings are compared: cosine of L2-normalised ones, or distance.
    """

    name: str
    measure: Measure

    def embed(self, crops: Sequence[Pixels]) -> Floats:
        """Compute embeddings (N,E)."""
        ...


class AnalyzerRecogniser:
    """The recogniser of the analyzer.

    Args:
        analyzer: Stays open.
    """

    measure: Measure = "cosine"

    def __init__(self, analyzer: Analyzer) -> None:
        self.name = analyzer.embedder
        self._analyzer = analyzer

    def embed(self, crops: Sequence[Pixels]) -> Floats:
        """Compute embeddings (N,E), L2-normalised."""
        small = [cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA) for crop in crops]
        # an arcface_128 crop holds the recogniser's crop as it is
        return self._analyzer.embed_aligned(np.ascontiguousarray(np.stack(small)[:, 0:112, 8:120]))


class DlibRecogniser(HeldOutRecogniser):
    """dlib's recogniser, compared by distance as its threshold is."""

    name = "dlib"
    measure: Measure = "distance"


class FaceresRecogniser:
    """The descriptor `models.recognisers.Faceres` on onnxruntime.

    Raises:
        UserError: As `assets.fetch`, when the files cannot be had.
    """

    name = "faceres"
    measure: Measure = "cosine"

    def __init__(self) -> None:
        self._session = create_session(convert_faceres())

    def embed(self, crops: Sequence[Pixels]) -> Floats:
        """Compute embeddings (N,1024), L2-normalised."""
        size = (FACERES_CROP, FACERES_CROP)
        scaled = np.stack([cv2.resize(crop, size, interpolation=cv2.INTER_AREA)[..., ::-1] for crop in crops])
        blob = np.ascontiguousarray((scaled - np.array(FACERES_MEANS, np.float32)).transpose(0, 3, 1, 2))
        return _normalize(np.asarray(self._session.run(None, {"input": blob})[0]))


class ArcFaceRecogniser:
    """ArcFace of a file.

    Args:
        path: The user's; None: that of the asset buffalo_l, whose weights are non-commercial.

    Raises:
        UserError: The file is no such recogniser, or as `assets.fetch`, when it cannot be had.
    """

    measure: Measure = "cosine"

    def __init__(self, path: Path | None) -> None:
        self._network = ArcFace(path)
        self.name = ArcFace.name if path is None else "arcface"

    def embed(self, crops: Sequence[Pixels]) -> Floats:
        """Compute embeddings (N,512), L2-normalised."""
        small = np.stack([cv2.resize(crop, (128, 128), interpolation=cv2.INTER_AREA) for crop in crops])
        with torch.inference_mode():
            return self._network.embed(torch.from_numpy(small).permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()


def compare(measure: Measure, embedding: Floats, others: Floats) -> NDArray[np.float64]:
    """Compare an embedding with others.

    Args:
        measure: cosine, or distance.
        embedding: (E,).
        others: (N,E).

    Returns:
        (N,), cosine or distance.
    """
    if measure == "cosine":
        return np.asarray(others @ embedding, np.float64)
    return np.asarray(np.linalg.norm(others - embedding, axis=1), np.float64)


def average(measure: Measure, embeddings: Floats) -> Floats:
    """Return the mean of a person's embeddings.

    Args:
        measure: How they are compared.
        embeddings: (N,E).

    Returns:
        (E,), L2-normalised where they are compared by cosine.
    """
    mean = embeddings.mean(0)
    return _normalize(mean) if measure == "cosine" else mean


def find_recognisers(
    names: Sequence[RecogniserName], arcface: Path | None, tell: Callable[[str], None]
) -> list[RecogniserName]:
    """Return those whose weights can be had; the others are told, and the sha256 of the user's file.

    Args:
        names: Wanted.
        arcface: The user's file; None: of the asset.
        tell: Is called with a line for each that is left out.

    Raises:
        UserError: The user's file is not there or is no recogniser, or a known file has another content.
    """
    found: list[RecogniserName] = []
    for name in dict.fromkeys(names):
        if name == "arcface" and arcface is not None:
            tell(f"arcface: {arcface.name}, sha256 {file_sha256(arcface)}")
            ArcFace(arcface)  # a mistake is told before hours of work
            found.append(name)
            continue
        try:
            for asset in _WEIGHTS[name]:
                fetch(asset)
        except UnreachableError as error:
            tell(f"{name} is left out: {error}")
        else:
            found.append(name)
    return found


def load_recognisers(
    names: Sequence[RecogniserName], analyzer: Analyzer, arcface: Path | None = None
) -> list[CropRecogniser]:
    """Load recognisers for one worker.

    Args:
        names: Of `find_recognisers`.
        analyzer: The worker's.
        arcface: The user's file; None: of the asset.
    """
    loaded: dict[str, CropRecogniser] = {}
    for name in names:
        one: CropRecogniser
        if name == "analyzer":
            one = AnalyzerRecogniser(analyzer)
        elif name == "arcface":
            one = ArcFaceRecogniser(arcface)
        else:
            one = DlibRecogniser() if name == "dlib" else FaceresRecogniser()
        loaded.setdefault(one.name, one)  # an analyzer may have the recogniser that is asked for too
    return list(loaded.values())


_WEIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "analyzer": (),  # is there already
    "dlib": ("shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"),
    "faceres": ("faceres.json", "faceres.bin"),
    "arcface": ("buffalo_l",),
}


def _normalize(vectors: Floats) -> Floats:
    """Return vectors (...,E) of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
