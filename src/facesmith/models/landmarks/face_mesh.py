"""MediaPipe's face networks as torch modules: 478 landmarks and 52 blendshapes of a face crop.

The weights are Google's (Apache-2.0), read from the asset `face_landmarker.task`. They are frozen, but what they
compute has gradients: they serve as geometry inside a generator, as losses for pose and expression, and as an analyzer
of whole batches.
"""

import zipfile
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith import assets
from facesmith.models.landmarks.tflite import TfliteModule

ASSET: Final = "face_landmarker.task"
SIDE: Final = 256  # px that the network sees
LANDMARKS: Final = 478

# the landmarks that MediaPipe's blendshape network reads: eyes, brows, lips, outline, irises
BLENDSHAPE_LANDMARKS: Final = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473),
    *(474, 475, 476, 477),
)


class FaceMesh(nn.Module):
    """Find 478 landmarks in face crops.

    Any crop that shows the whole face about upright will do; `arcface_128` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = TfliteModule(_member("face_landmarks_detector.tflite"))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Find the landmarks.

        Args:
            faces: (N,3,S,S) RGB in 0..1, of any side S.

        Returns:
            Landmarks (N,478,3) in px of the crop, pixel centres at .5, depth in the same unit and the nearer the
            smaller; and how surely each crop shows a face, (N,) in 0..1.
        """
        side = faces.shape[-1]
        if side >= 2 * SIDE:
            faces = F.avg_pool2d(faces, side // SIDE)
        if faces.shape[-1] != SIDE:
            faces = F.interpolate(faces, (SIDE, SIDE), mode="bilinear", align_corners=False)
        points, presence, _ = self.network(faces.permute(0, 2, 3, 1))
        return points.reshape(-1, LANDMARKS, 3) * (side / SIDE), torch.sigmoid(presence.flatten())


class Blendshapes(nn.Module):
    """Compute expressions from landmarks: MediaPipe's 52 blendshapes, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.network = TfliteModule(_member("face_blendshapes.tflite"))
        self.register_buffer("chosen", torch.tensor(BLENDSHAPE_LANDMARKS), persistent=False)

    def forward(self, landmarks: Tensor) -> Tensor:
        """Compute the blendshapes.

        Args:
            landmarks: (N,478,2 or 3), x and y in one unit, wherever the face is and however large.

        Returns:
            (N,52) in 0..1.
        """
        (shapes,) = self.network(landmarks[:, self.get_buffer("chosen"), :2])
        return shapes.reshape(-1, 52)


def _member(name: str) -> bytes:
    with zipfile.ZipFile(assets.fetch(ASSET)) as bundle:
        return bundle.read(name)
