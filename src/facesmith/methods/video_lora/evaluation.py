"""Metrics of generated videos, and the heads in the videos that are trained on."""

from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Analyzer
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.pose_landmarks import PoseLandmarker
from facesmith.methods.video_lora.poses import pose_agreement

Frames = NDArray[np.uint8]


class VideoEvaluator(Protocol):
    """Finds heads and measures generated videos. Frames are (T,H,W,3) RGB uint8."""

    def find_heads(self, frames: Frames, poses: Frames, person: FaceEmbeddings) -> NDArray[np.float32]:
        """Return (T,4) boxes of the person's head: left, top, right, bottom in px, NaN where it is not seen.

        Args:
            frames: Of a dance.
            poses: Of its pose video.
            person: Who dances.
        """
        ...

    def recognise(self, frame: Frames, person: FaceEmbeddings) -> list[tuple[NDArray[np.float32], float]]:
        """Return the faces of a frame.

        Args:
            frame: (H,W,3) RGB uint8.
            person: Whom they are compared with.

        Returns:
            Of each face its box (4,): left, top, right, bottom in px; and its cosine similarity to the person, -1..1.
        """
        ...

    def evaluate(self, frames: Frames, truth: Frames, poses: Frames, person: FaceEmbeddings) -> dict[str, float]:
        """Compute metrics by name, `likeness` among them.

        Args:
            frames: Of the generated video.
            truth: Of the dance that the poses come from.
            poses: Of the pose video.
            person: Who is to be seen.
        """
        ...

    def close(self) -> None:
        """Free native sessions."""
        ...


class FaceEvaluator:
    """Evaluates real faces with the analyzer's recogniser.

    Args:
        analyzer: Makes what finds and recognises faces; that of the photos.
        every: Frames from one detection to the next; boxes in between are interpolated.
    """

    def __init__(self, *, analyzer: Callable[[], Analyzer], every: int) -> None:
        self._make, self._every = analyzer, every
        self._loaded: Analyzer | None = None

    @property
    def _analyzer(self) -> Analyzer:
        if self._loaded is None:
            self._loaded = self._make()
        return self._loaded

    def find_heads(self, frames: Frames, poses: Frames, person: FaceEmbeddings) -> NDArray[np.float32]:
        """Find the person's face every few frames and interpolate in between; see `VideoEvaluator`.

        A face alone in its frame is the person's; of several it is the one most like the photos.
        """
        found = {}
        for time in range(0, len(frames), self._every):
            faces: list[tuple[NDArray[np.float32], float]] = [(d.box, 0.0) for d in self._analyzer.detect(frames[time])]
            if len(faces) > 1:
                faces = self.recognise(frames[time], person)
            if faces:
                found[time] = max(faces, key=lambda face: face[1])[0]
        boxes = np.full((len(frames), 4), np.nan, np.float32)
        if found:
            times = np.array(sorted(found))
            known = np.stack([found[int(t)] for t in times])
            near = np.abs(np.arange(len(frames))[:, None] - times).min(1) < self._every
            for side in range(4):
                boxes[near, side] = np.interp(np.flatnonzero(near), times, known[:, side])
        return boxes

    def recognise(self, frame: Frames, person: FaceEmbeddings) -> list[tuple[NDArray[np.float32], float]]:
        """Compare the faces of a frame with the person's; see `VideoEvaluator`."""
        return [(face.box, float(face.embedding @ person.recognised)) for face in self._analyzer(frame)]

    def evaluate(self, frames: Frames, truth: Frames, poses: Frames, person: FaceEmbeddings) -> dict[str, float]:
        """Compute similarity of faces, and shares of frames with a face and limbs in place; see `VideoEvaluator`."""
        faces = [self._analyzer(frame) for frame in frames[:: self._every]]
        similarities = [max(float(face.embedding @ person.recognised) for face in each) for each in faces if each]
        return {
            "likeness": float(np.mean(similarities)) if similarities else 0.0,
            "faces_found": len(similarities) / len(faces),
            "pose_agreement": pose_agreement(
                _find_landmarks(frames[:: self._every]), _find_landmarks(truth[:: self._every])
            ),
        }

    def close(self) -> None:
        """Free the native sessions."""
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


def _find_landmarks(frames: Frames) -> list[NDArray[np.float32] | None]:
    with closing(PoseLandmarker()) as landmarker:
        return [landmarker(frame, 100 * number) for number, frame in enumerate(frames)]


def flicker(frames: Frames) -> float:
    """Return the mean absolute second difference along time: 0 for anything that moves evenly.

    Args:
        frames: (T,H,W,3) RGB uint8; of fewer than three it is 0.

    Returns:
        In levels of 255.
    """
    if len(frames) < 3:
        return 0.0
    levels = frames.astype(np.int16)
    return float(np.abs(levels[2:] - 2 * levels[1:-1] + levels[:-2]).mean())
