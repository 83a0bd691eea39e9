"""478 landmarks, expression and pose of one face: MediaPipe's FaceLandmarker on an upright crop around it."""

import math
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import mediapipe
import numpy as np
import numpy.typing as npt
from mediapipe.tasks.python import BaseOptions, vision

from facesmith.faces.analyzers import native_log
from facesmith.faces.face import Detection, Face, Floats, Pixels, keypoints_from_landmarks
from facesmith.faces.geometry import alignment
from facesmith.faces.measures import DUPLICATE_IOU, box_area, landmark_iou

# libmediapipe samples its own CPU time by SIGPROF; ticks that come after a landmarker was closed would end the process.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGPROF) is signal.SIG_DFL:
    signal.signal(signal.SIGPROF, signal.SIG_IGN)

# The landmarker costs the same at any crop size; at this one the face has nearly all pixels its network takes
# (256 over 1.5 faces). A margin is the crop's side over the detection's; the second is a further try.
_CROP: Final = 320
_MARGINS: Final = (2.2, 1.6)
# Mean distance between the detector's points and the landmarks' in sides of the detection: beyond it, the
# landmarker has taken a neighbour for the face.
_OFF: Final = 0.25


@dataclass(frozen=True, slots=True)
class LandmarkResult:
    """landmarks: (478, 3) px. blendshapes: (52,) 0..1. pose: (3,) pitch, yaw, roll in degrees as in Face."""

    landmarks: Floats
    blendshapes: Floats
    pose: Floats


class Landmarker:
    """MediaPipe's FaceLandmarker for single pictures. model: face_landmarker.task. Not thread-safe."""

    def __init__(self, model: Path) -> None:
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with native_log.filter_stderr():
            self._native = vision.FaceLandmarker.create_from_options(options)
            # It goes on printing until every one of its models has run once.
            self._detect(np.zeros((64, 64, 3), dtype=np.uint8))
        # At interpreter exit MediaPipe's threads are gone before this could run: close() is for that.
        self._finalizer = weakref.finalize(self, self._native.close)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Gives the native graph back; a second call does nothing."""
        self._finalizer()

    def of_picture(self, picture: npt.NDArray[np.uint8]) -> LandmarkResult | None:
        """The one face of a picture (H, W, 3) RGB uint8 in px of it; None if none is found."""
        return self._detect(picture, angle=0.0)

    def of_detection(self, frame: npt.NDArray[np.uint8], detection: Detection) -> LandmarkResult | None:
        """The detected face in px of the frame (H, W, 3) RGB uint8; None if the landmarker misses it."""
        for margin in _MARGINS:
            matrix = _upright(detection, margin)
            angle = math.atan2(matrix[1, 0], matrix[0, 0])
            mesh = self._detect(_cut(frame, matrix), angle=angle)
            if mesh is None:
                continue
            landmarks = alignment.transform_points(mesh.landmarks, alignment.invert_transform(matrix)).astype(
                np.float32
            )
            off = np.linalg.norm(keypoints_from_landmarks(landmarks) - detection.keypoints, axis=1).mean()
            if off <= _OFF * detection.size:
                return LandmarkResult(landmarks=landmarks, blendshapes=mesh.blendshapes, pose=mesh.pose)
        return None

    def _detect(self, picture: npt.NDArray[np.uint8], angle: float = 0.0) -> LandmarkResult | None:
        image = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture, dtype=np.uint8)
        )
        result = self._native.detect(image)
        if not result.face_landmarks:
            return None
        height, width = picture.shape[:2]
        points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], dtype=np.float32)
        # MediaPipe counts from the picture's edge, and depth in widths.
        landmarks = points * np.array([width, height, width], dtype=np.float32) - np.array(
            [0.5, 0.5, 0], dtype=np.float32
        )
        blendshapes = np.array([each.score for each in result.face_blendshapes[0]], dtype=np.float32)
        return LandmarkResult(
            landmarks=landmarks,
            blendshapes=blendshapes,
            pose=_pose(np.asarray(result.facial_transformation_matrixes[0]), angle),
        )


def _upright(detection: Detection, margin: float) -> alignment.Matrix:
    """Frame to a crop that has the face upright in its middle."""
    fit = alignment.estimate_alignment(detection.keypoints, "ffhq_512", 1)
    turn = fit[:, :2] / alignment.transform_scale(fit) * (_CROP / (margin * detection.size))
    centre = (detection.box[:2] + detection.box[2:]) / 2
    return np.column_stack([turn, (_CROP - 1) / 2 - turn @ centre])


def _cut(frame: npt.NDArray[np.uint8], matrix: alignment.Matrix) -> npt.NDArray[np.uint8]:
    if alignment.transform_scale(matrix) < 0.4:
        return alignment.warp_face(frame, matrix, _CROP)
    # MediaPipe resamples its input like this too; means would cost half as much as its networks.
    crop = cv2.warpAffine(frame, matrix, (_CROP, _CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, dtype=np.uint8)


def _pose(matrix: npt.NDArray[np.floating], angle: float) -> Floats:
    """Pitch, yaw, roll in degrees from MediaPipe's matrix (4, 4) of a crop turned clockwise by `angle`."""
    cos, sin = math.cos(angle), math.sin(angle)
    # MediaPipe's y points up, so that a clockwise turn of the picture is a negative one about z: undo it.
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ matrix[:3, :3]
    pitch = math.atan2(rotation[2, 1], rotation[2, 2])
    yaw = math.asin(float(np.clip(-rotation[2, 0], -1, 1)))
    roll = -math.atan2(rotation[1, 0], rotation[0, 0])
    return np.degrees([pitch, yaw, roll]).astype(np.float32)


def build_faces(
    frame: Pixels,
    detections: Sequence[Detection],
    landmarker: Landmarker,
    embed: Callable[[Pixels], Floats] | None,
    embedding_size: int,
) -> list[Face]:
    """The faces of a frame (H, W, 3) RGB uint8 behind its detections, the largest first.

    A detection without landmarks is left out, and so is the lower-scored of two that share their landmarks.
    embed: (N, 112, 112, 3) RGB uint8 on arcface_112_v2 to (N, E); without it embeddings are NaN.
    """
    found: list[tuple[Detection, LandmarkResult]] = []
    for detection in sorted(detections, key=lambda each: -each.score):
        mesh = landmarker.of_detection(frame, detection)
        if mesh is not None and all(
            landmark_iou(mesh.landmarks, other.landmarks) < DUPLICATE_IOU for _, other in found
        ):
            found.append((detection, mesh))
    if not found:
        return []
    found.sort(key=lambda each: -box_area(each[0].box))
    if embed is None:
        embeddings = np.full((len(found), embedding_size), np.nan, np.float32)
    else:
        keypoints = [keypoints_from_landmarks(mesh.landmarks) for _, mesh in found]
        crops = [
            alignment.warp_face(frame, alignment.estimate_alignment(one, "arcface_112_v2", 112), 112)
            for one in keypoints
        ]
        embeddings = embed(np.stack(crops))
    return [
        Face(
            box=detection.box,
            score=detection.score,
            landmarks=mesh.landmarks,
            blendshapes=mesh.blendshapes,
            pose=mesh.pose,
            embedding=embedding,
        )
        for (detection, mesh), embedding in zip(found, embeddings, strict=True)
    ]


def find_crop_landmarks(crops: Sequence[Pixels], landmarker: Landmarker) -> list[tuple[Floats, Floats] | None]:
    """Of each aligned crop (S, S, 3) RGB uint8: (478, 3) px and (52,); None if no face is seen."""
    return [_landmarks_of_crop(crop, landmarker) for crop in crops]


def _landmarks_of_crop(crop: Pixels, landmarker: Landmarker) -> tuple[Floats, Floats] | None:
    # The landmarker's own detector may want air around a face, of which a tight template leaves none.
    for margin in (0, crop.shape[0] // 4):
        picture = cv2.copyMakeBorder(crop, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
        mesh = landmarker.of_picture(np.asarray(picture, dtype=np.uint8))
        if mesh is not None:
            return (mesh.landmarks - np.array([margin, margin, 0], dtype=np.float32)).astype(
                np.float32
            ), mesh.blendshapes
    return None
