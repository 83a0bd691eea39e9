"""A face as the analyzers describe it, and what an analyzer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# The six points of each eye that the 68-point convention has: their mean stays put when the gaze moves, unlike an iris
# centre.
_LEFT_EYE: Final = (33, 160, 158, 133, 153, 144)
_RIGHT_EYE: Final = (362, 385, 387, 263, 373, 380)
_NOSE_TIP: Final = 1
_LEFT_MOUTH: Final = 61
_RIGHT_MOUTH: Final = 291


@dataclass(frozen=True, slots=True)
class Detection:
    """A face as a detector sees it, before landmarks.

    Attributes:
        box: (4,) left, top, right, bottom px.
        keypoints: (5, 2) px, in the order of the templates.
        score: The detector's, 0..1.
    """

    box: Floats
    keypoints: Floats
    score: float

    @property
    def size(self) -> float:
        """The longer side of the box in px."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame, in px of that frame, where (0, 0) is the centre of the top left pixel.

    Attributes:
        box: (4,) left, top, right, bottom.
        score: The detector's, 0..1.
        landmarks: (478, 3); z in px too, negative towards the camera.
        blendshapes: (52,) 0..1, in the order of `topology.BLENDSHAPES`; NaN of a face that was followed.
        pose: (3,) pitch, yaw, roll in degrees; positive is chin down, nose towards the picture's right, head leaning
            clockwise in the picture.
        embedding: (E,), L2-normalised; NaN where it was not asked for.
    """

    box: Floats
    score: float
    landmarks: Floats
    blendshapes: Floats
    pose: Floats
    embedding: Floats

    @property
    def keypoints(self) -> Floats:
        """(5, 2) left eye, right eye, nose tip, left and right mouth corner as seen in the picture."""
        return keypoints_from_landmarks(self.landmarks)


class Analyzer(Protocol):
    """Finds faces, their landmarks, expressions, poses and embeddings.

    An instance holds native sessions: not thread-safe, one a worker.
    """

    @property
    def embedder(self) -> str:
        """Name of the recogniser."""
        ...

    @property
    def embedding_size(self) -> int:
        """E, the length of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides the results: weights, libraries, settings."""
        ...

    def __call__(self, frame: Pixels) -> list[Face]:
        """Return all faces of a frame (H, W, 3) RGB, the largest first."""
        ...

    def detect(self, frame: Pixels) -> list[Detection]:
        """Find where faces may be in a frame (H, W, 3) RGB that is upright, more or less."""
        ...

    def search(self, frame: Pixels) -> list[Detection]:
        """Find faces where `detect` finds none, however turned or small; slower."""
        ...

    def analyse(self, frame: Pixels, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """Return the faces behind detections, the largest first.

        Args:
            frame: (H, W, 3) RGB.
            detections: Where to look.
            embed: Whether to embed the faces; else their embeddings are NaN.
        """
        ...

    def follow(self, frame: Pixels, landmarks: Floats) -> Floats | None:
        """Find the landmarks of a face again near where it was, without a search.

        Args:
            frame: (H, W, 3) RGB.
            landmarks: (478, 3) px, of the face in a neighbouring frame.

        Returns:
            (478, 3) px; None if no face is seen there.
        """
        ...

    def find_landmarks(self, crops: Sequence[Pixels]) -> list[tuple[Floats, Floats] | None]:
        """Find landmarks and expression in crops of one face each.

        Args:
            crops: (S, S, 3) RGB.

        Returns:
            Of each crop (478, 3) px and (52,); None if no face is seen.
        """
        ...

    def embed_aligned(self, crops: Pixels) -> Floats:
        """Embed aligned faces.

        Args:
            crops: (N, 112, 112, 3) RGB on the template arcface_112_v2.

        Returns:
            (N, E), L2-normalised.
        """
        ...

    def close(self) -> None:
        """Release the native sessions."""
        ...


def keypoints_from_landmarks(landmarks: Floats) -> Floats:
    """Return the alignment points of landmarks.

    Args:
        landmarks: (..., 478, 2 or 3) px.

    Returns:
        (..., 5, 2) px, in the order of the templates.
    """
    flat = landmarks[..., :2]
    return np.stack(
        [
            flat[..., _LEFT_EYE, :].mean(axis=-2),
            flat[..., _RIGHT_EYE, :].mean(axis=-2),
            flat[..., _NOSE_TIP, :],
            flat[..., _LEFT_MOUTH, :],
            flat[..., _RIGHT_MOUTH, :],
        ],
        axis=-2,
    )
