"""Landmarks of a face that was seen a frame ago: MediaPipe's landmark network alone, without a search for the face."""

import math
import zipfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from facesmith.faces.analyzers import native_log
from facesmith.faces.face import Floats, Pixels
from facesmith.faces.geometry.alignment import Matrix, invert_transform, transform_points, warp_face

SIDE: Final = 256
"""px that the network sees."""

# Side of the crop in sides of the landmarks' box. MediaPipe itself takes 1.5 along a video; with this the landmarks are
# nearest to those that it finds in single pictures: .013 and .008 iris distances off in two films, with 1.5 .017 and
# .013, with 1.2 .021 and .016.
_AROUND: Final = 1.37
_LEAST: Final = 0.5  # MediaPipe's least probability of a face
_NETWORK: Final = "face_landmarks_detector.tflite"
_LEFT_CORNER, _RIGHT_CORNER = 33, 263  # outer corners of the eyes: their line is what lies level


class Follower:
    """Find a face again near where it was, as MediaPipe does along a video. Not thread-safe.

    The same network on the same kernels as in `Landmarker`, at half its cost: no detector runs, no blendshapes are
    computed, and no Python objects are made of each point.
    """

    def __init__(self, model: Path) -> None:
        """Load the network.

        Args:
            model: face_landmarker.task.
        """
        with zipfile.ZipFile(model) as bundle:
            content = bundle.read(_NETWORK)
        with native_log.filter_stderr():
            self._network = Interpreter(model_content=content, num_threads=1)
            self._network.allocate_tensors()
        self._input: int = self._network.get_input_details()[0]["index"]
        self._points, self._presence = (each["index"] for each in self._network.get_output_details()[:2])

    def find(self, frame: Pixels, landmarks: Floats) -> Floats | None:
        """Find a face again.

        Args:
            frame: (H, W, 3) RGB.
            landmarks: (478, 3) px, of the face in a neighbouring frame, or roughly of this one.

        Returns:
            (478, 3) px; None if no face is seen there.
        """
        matrix = follow_matrix(landmarks)
        if not np.isfinite(matrix).all():
            return None
        crop = warp_face(frame, matrix, SIDE)
        self._network.set_tensor(self._input, crop[None].astype(np.float32) / np.float32(255))
        self._network.invoke()
        presence = float(self._network.get_tensor(self._presence).ravel()[0])
        if 1 / (1 + math.exp(-presence)) < _LEAST:
            return None
        points = self._network.get_tensor(self._points).reshape(-1, 3) - np.array([0.5, 0.5, 0], np.float32)
        return transform_points(points, invert_transform(matrix)).astype(np.float32)


def follow_matrix(landmarks: Floats) -> Matrix:
    """Return the matrix (2, 3) from a frame to the crop in which a face is found again.

    Args:
        landmarks: (478, 2 or 3) px of the frame.
    """
    across = landmarks[_RIGHT_CORNER, :2] - landmarks[_LEFT_CORNER, :2]
    angle = math.atan2(float(across[1]), float(across[0]))
    turn = cv2.getRotationMatrix2D((0, 0), math.degrees(angle), 1.0)[:, :2]
    turned = landmarks[:, :2].astype(np.float64) @ turn.T
    low, high = turned.min(0), turned.max(0)
    scale = SIDE / (_AROUND * max(float((high - low).max()), 1e-3))
    return np.column_stack([turn * scale, (SIDE - 1) / 2 - scale * (low + high) / 2])
