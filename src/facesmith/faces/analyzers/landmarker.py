"""478 landmarks, expression and pose by MediaPipe's FaceLandmarker, and what every analyzer that uses it shares."""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import queue
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from facesmith import assets
from facesmith.faces.analyzers import native_log
from facesmith.faces.analyzers.follower import Follower
from facesmith.faces.analyzers.turned import find_cut, find_turned, is_on_side, turn_upright
from facesmith.faces.face import Detection, Face, Floats, Pixels, keypoints_from_landmarks
from facesmith.faces.geometry.alignment import (
    Array,
    Matrix,
    estimate_alignment,
    invert_transform,
    transform_points,
    transform_scale,
    warp_face,
)
from facesmith.faces.geometry.pose import pose_of_rotation
from facesmith.faces.measures import DUPLICATE_IOU, box_area, landmark_iou

native_log.ignore_profiling_ticks()

# The landmarker costs the same at any crop size; at this one the face has nearly all pixels its network takes
# (256 over 1.5 faces). A margin is the crop's side over the detection's; the second is a further try.
_CROP: Final = 320
_MARGINS: Final = (2.2, 1.6)
# Mean distance between the detector's points and the landmarks' in sizes of the detection: beyond it, the
# landmarker has taken a neighbour for the face.
_MAX_DISTANCE: Final = 0.25
_WEIGHTS: Final = "face_landmarker.task"
# Landmarkers that nobody closed. A garbage collection may come while a pool of threads holds its lock, which MediaPipe
# takes to close one: it only puts them here, and they are closed later.
_ABANDONED: Final = queue.SimpleQueue[vision.FaceLandmarker]()
# Longest side at which small faces are searched for: there 20 px of a frame of 1920 are 13, about the smallest.
_LARGEST: Final = 1280


class LandmarkerAnalyzer(ABC):
    """An `Analyzer` whose landmarks are MediaPipe's; children add a detector and a recogniser.

    Attributes:
        dropped: How many detections had no landmarks, or were a second detection of one face, so far.
    """

    embedder: str
    """Name of the recogniser."""

    def __init__(self, fingerprint: str, sizes: Sequence[int], min_score: float) -> None:
        """Start the landmarker.

        Args:
            fingerprint: Hash of everything that decides the results, see `fingerprint`.
            sizes: Longest sides in px at which faces are looked for, in turn until some are found.
            min_score: Detector's score, 0..1, below which a face does not count.

        Raises:
            UserError: its weights cannot be had.
        """
        self.dropped = 0
        self.fingerprint = fingerprint
        self._sizes, self._min_score = tuple(sizes), min_score
        self._landmarker = Landmarker(assets.fetch(_WEIGHTS))
        self._follower: Follower | None = None

    @property
    @abstractmethod
    def embedding_size(self) -> int:
        """E, the length of an embedding."""

    @abstractmethod
    def detect_at(self, frame: Pixels, size: int) -> list[Detection]:
        """Find upright faces in a frame (H, W, 3) RGB shrunk to a longest side in px; px of the frame."""

    @abstractmethod
    def embed_aligned(self, crops: Pixels) -> Floats:
        """Embed crops (N, 112, 112, 3) RGB on the template arcface_112_v2: (N, E), L2-normalised."""

    def __call__(self, frame: Pixels) -> list[Face]:
        """Return all faces of a frame (H, W, 3) RGB, the largest first."""
        for find in (self.detect, self.search):
            detections = find(frame)
            faces = self.analyse(frame, detections, embed=True)
            self.dropped += len(detections) - len(faces)
            if faces:
                return faces
        return []

    def detect(self, frame: Pixels) -> list[Detection]:
        """Find where faces may be in a frame (H, W, 3) RGB that is upright, more or less."""
        longest = max(frame.shape[:2])
        for size in dict.fromkeys(min(size, longest) for size in self._sizes):
            found = self._turned_upright(frame, self.detect_at(frame, size), size)
            if found:
                return found
        return []

    def search(self, frame: Pixels) -> list[Detection]:
        """Find faces where `detect` finds none: cut by the border, turned by quarters, or small in a large frame.

        It takes four times as long as `detect`, and in frames of more than 640 px ten times.
        """
        longest = max(frame.shape[:2])
        for size in dict.fromkeys(min(size, longest) for size in self._sizes):
            found = find_cut(frame, size, self.detect_at) or find_turned(frame, size, self.detect_at)
            if found:
                return self._turned_upright(frame, found, size)
        largest = min(_LARGEST, longest)
        if largest <= max(self._sizes):
            return []
        return self._turned_upright(frame, self.detect_at(frame, largest), largest)

    def _turned_upright(self, frame: Pixels, found: Sequence[Detection], size: int) -> list[Detection]:
        """Correct faces that were taken for upright; where there are such, others are found only turned."""
        upright: list[Detection] = []
        changed = False
        for one in found:
            turned = turn_upright(frame, one, self.detect_at, self._min_score)
            changed |= turned is not one
            # Which way up a face on its side lies, its landmarks decide.
            both = [] if turned is None or turned is one else [one] if is_on_side(turned, one) else []
            upright += [*([] if turned is None else [turned]), *both]
        return [*upright, *find_turned(frame, size, self.detect_at)] if changed else upright

    def analyse(self, frame: Pixels, detections: Sequence[Detection], *, embed: bool) -> list[Face]:
        """Find landmarks and embeddings of detected faces.

        A detection without landmarks gives no face, nor does the lower-scored of two that share their landmarks.

        Args:
            frame: (H,W,3) RGB uint8.
            detections: Where faces were detected, px of the frame.
            embed: Whether embeddings are computed; they are NaN otherwise.

        Returns:
            The faces, the largest first.
        """
        found: list[tuple[Detection, LandmarkResult]] = []
        for detection in sorted(detections, key=lambda each: -each.score):
            result = self._landmarker.find_detected(frame, detection)
            if result is not None and all(
                landmark_iou(result.landmarks, other.landmarks) < DUPLICATE_IOU for _, other in found
            ):
                found.append((detection, result))
        if not found:
            return []
        found.sort(key=lambda each: -box_area(each[0].box))
        embeddings = np.full((len(found), self.embedding_size), np.nan, np.float32)
        if embed:
            keypoints = [keypoints_from_landmarks(result.landmarks) for _, result in found]
            crops = [warp_face(frame, estimate_alignment(one, "arcface_112_v2", 112), 112) for one in keypoints]
            embeddings = self.embed_aligned(np.stack(crops))
        return [
            Face(
                box=detection.box,
                score=detection.score,
                landmarks=result.landmarks,
                blendshapes=result.blendshapes,
                pose=result.pose,
                embedding=embedding,
            )
            for (detection, result), embedding in zip(found, embeddings, strict=True)
        ]

    def follow(self, frame: Pixels, landmarks: Floats) -> Floats | None:
        """Find a face of a neighbouring frame again, see `Follower.find`."""
        if self._follower is None:
            self._follower = Follower(assets.fetch(_WEIGHTS))
        return self._follower.find(frame, landmarks)

    def find_landmarks(self, crops: Sequence[Pixels]) -> list[tuple[Floats, Floats] | None]:
        """Find landmarks and expression in crops (S, S, 3) RGB of one face each.

        Returns:
            Of each crop (478, 3) px and (52,); None if no face is seen.
        """
        return [self._find_in_crop(crop) for crop in crops]

    def close(self) -> None:
        """Release the native sessions."""
        self._landmarker.close()

    def _find_in_crop(self, crop: Pixels) -> tuple[Floats, Floats] | None:
        # The landmarker's own detector may want air around a face, of which a tight template leaves none.
        for margin in (0, crop.shape[0] // 4):
            picture = cv2.copyMakeBorder(crop, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
            result = self._landmarker.find(np.asarray(picture, dtype=np.uint8))
            if result is not None:
                return result.landmarks - np.array([margin, margin, 0], dtype=np.float32), result.blendshapes
        return None


def compute_fingerprint(
    analyzer: str, revision: int, weights: Sequence[str], libraries: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    """Hash everything that decides an analyzer's results, as hex.

    Args:
        analyzer: Its name.
        revision: Raised when the code that turns the models' answers into faces changes what it answers.
        weights: Assets it reads.
        libraries: What names the versions of the libraries it runs.
        settings: Its settings, JSON-serialisable.
    """
    facts = {
        "analyzer": analyzer,
        "revision": revision,
        "weights": {name: assets.sha256(name) for name in weights},
        **libraries,
        **settings,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of libraries by name."""
    return {name: importlib.metadata.version(name) for name in names}


@dataclass(frozen=True, slots=True)
class LandmarkResult:
    """The landmarker's result for one face.

    Attributes:
        landmarks: (478, 3) px.
        blendshapes: (52,) 0..1.
        pose: (3,) pitch, yaw, roll in degrees, as in `Face`.
    """

    landmarks: Floats
    blendshapes: Floats
    pose: Floats


class Landmarker:
    """MediaPipe's FaceLandmarker for single pictures. Not thread-safe."""

    def __init__(self, model: Path) -> None:
        """Start the native graph.

        Args:
            model: face_landmarker.task.
        """
        _close_abandoned()
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with native_log.filter_stderr():
            self._native = vision.FaceLandmarker.create_from_options(options)
            # It prints until each of its models has run once.
            self.find(np.zeros((64, 64, 3), dtype=np.uint8))
        # At interpreter exit MediaPipe's threads are gone before this could run: close() is for that.
        self._finalizer = weakref.finalize(self, _ABANDONED.put, self._native)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Release the native graph; a second call does nothing."""
        if self._finalizer.detach():
            self._native.close()
        _close_abandoned()

    def find(self, picture: Pixels, angle: float = 0.0) -> LandmarkResult | None:
        """Find the one face of a picture.

        Args:
            picture: (H, W, 3) RGB.
            angle: By how many radians, clockwise, the picture was turned; the pose is that before.

        Returns:
            The face in px of the picture; None if none is found.
        """
        image = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture, dtype=np.uint8)
        )
        result = self._native.detect(image)
        if not result.face_landmarks:
            return None
        height, width = picture.shape[:2]
        points = np.array([(p.x, p.y, p.z) for p in result.face_landmarks[0]], dtype=np.float32)
        # MediaPipe counts from the picture's edge, and depth in widths.
        landmarks = points * np.array([width, height, width], np.float32) - np.array([0.5, 0.5, 0], np.float32)
        return LandmarkResult(
            landmarks=landmarks,
            blendshapes=np.array([each.score for each in result.face_blendshapes[0]], dtype=np.float32),
            pose=_pose(np.asarray(result.facial_transformation_matrixes[0]), angle),
        )

    def find_detected(self, frame: Pixels, detection: Detection) -> LandmarkResult | None:
        """Find a detected face.

        Args:
            frame: (H, W, 3) RGB.
            detection: Where to look.

        Returns:
            The face in px of the frame; None if the landmarker misses it.
        """
        for margin in _MARGINS:
            matrix = _upright(detection, margin)
            result = self.find(_cut(frame, matrix), angle=math.atan2(matrix[1, 0], matrix[0, 0]))
            if result is None:
                continue
            landmarks = transform_points(result.landmarks, invert_transform(matrix)).astype(np.float32)
            distance = np.linalg.norm(keypoints_from_landmarks(landmarks) - detection.keypoints, axis=1).mean()
            if distance <= _MAX_DISTANCE * detection.size:
                return LandmarkResult(landmarks, result.blendshapes, result.pose)
        return None


def _close_abandoned() -> None:
    while not _ABANDONED.empty():
        with contextlib.suppress(queue.Empty):  # another thread was quicker
            _ABANDONED.get_nowait().close()


def _upright(detection: Detection, margin: float) -> Matrix:
    """Return the matrix from the frame to a crop that has the face upright in its middle."""
    fit = estimate_alignment(detection.keypoints, "ffhq_512", 1)
    rotation = fit[:, :2] / transform_scale(fit) * (_CROP / (margin * detection.size))
    centre = (detection.box[:2] + detection.box[2:]) / 2
    return np.column_stack([rotation, (_CROP - 1) / 2 - rotation @ centre])


def _cut(frame: Pixels, matrix: Matrix) -> Pixels:
    if transform_scale(matrix) < 0.4:
        return warp_face(frame, matrix, _CROP)
    # MediaPipe resamples its input like this too; means would cost half as much as its networks.
    crop = cv2.warpAffine(frame, matrix, (_CROP, _CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, dtype=np.uint8)


def _pose(matrix: Array, angle: float) -> Floats:
    """Return pitch, yaw, roll in degrees from MediaPipe's matrix (4, 4) of a crop turned clockwise by `angle`."""
    cos, sin = math.cos(angle), math.sin(angle)
    # MediaPipe's y points up, so that a clockwise turn of the picture is a negative one about z: undo it.
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ matrix[:3, :3]
    return pose_of_rotation(np.asarray(rotation, np.float64))
