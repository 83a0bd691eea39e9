"""What a face detector says, before landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Detection:
    """box: (4,) left, top, right, bottom px. keypoints: (5, 2) px in the templates' order. score: 0..1."""

    box: npt.NDArray[np.float32]
    keypoints: npt.NDArray[np.float32]
    score: float

    @property
    def size(self) -> float:
        """The longer side of the box in px."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

LANDMARKS: Final = 478

BLENDSHAPES: Final[tuple[str, ...]] = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)

# The six points of each eye that the 68-point convention has: their mean stays put when the gaze moves,
# unlike an iris centre.
_LEFT_EYE: Final = (33, 160, 158, 133, 153, 144)
_RIGHT_EYE: Final = (362, 385, 387, 263, 373, 380)
_NOSE_TIP: Final = 1
_LEFT_MOUTH: Final = 61
_RIGHT_MOUTH: Final = 291


def keypoints_from_landmarks(landmarks: Floats) -> Floats:
    """The alignment points (..., 5, 2) of landmarks (..., 478, 2 or 3), in the order of the templates."""
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


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame, in px of that frame, where (0, 0) is the centre of the top left pixel.

    box: (4,) left, top, right, bottom. score: the detector's, 0..1. landmarks: (478, 3), z in px too,
    negative towards the camera. blendshapes: (52,) 0..1 in the order of BLENDSHAPES. pose: (3,) pitch, yaw,
    roll in degrees; positive is chin down, nose towards the picture's right, head leaning clockwise in the
    picture. embedding: (E,), L2-normalised; NaN where it was not asked for. All float32.
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
    """Finds faces and says all that facesmith needs to know of them.

    embedder and embedding_size name the recogniser; fingerprint changes when weights, libraries or settings
    that change results do. An instance holds native sessions: not thread-safe, one a worker.
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
        """Hash of everything that decides the results."""
        ...

    def __call__(self, frame: Pixels) -> list[Face]:
        """All faces of a frame (H, W, 3) RGB uint8, the largest first."""
        ...

    def detect(self, frame: Pixels) -> list[Detection]:
        """Where faces may be in a frame (H, W, 3) RGB uint8."""
        ...

    def faces(self, frame: Pixels, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """The faces behind detections, the largest first; without `embed` their embeddings are NaN."""
        ...

    def landmarks(self, crops: Sequence[Pixels]) -> list[tuple[Floats, Floats] | None]:
        """Of each crop (S, S, 3) RGB uint8 of one face: (478, 3) px and (52,); None if no face is seen."""
        ...

    def embed_aligned(self, crops: Pixels) -> Floats:
        """(N, E), L2-normalised, of crops (N, 112, 112, 3) RGB uint8 on the template arcface_112_v2."""
        ...

    def close(self) -> None:
        """Gives the native sessions back."""
        ...
