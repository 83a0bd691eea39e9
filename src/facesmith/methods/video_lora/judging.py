"""What a drawn video is measured by."""

from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face import Analyzer
from facesmith.methods.video_lora.poses import PoseLandmarker, agreement
from facesmith.methods.video_lora.references import References

Frames = NDArray[np.uint8]


class JudgesVideos(Protocol):
    """Something that finds heads and compares drawn videos with what was wanted; frames are (T,H,W,3) RGB uint8."""

    def boxes(self, frames: Frames, poses: Frames) -> NDArray[np.float32]:
        """Give (T,4) head boxes, left, top, right, bottom in px, NaN where none is seen."""
        ...

    def figures(self, frames: Frames, truth: Frames, poses: Frames, references: References) -> dict[str, float]:
        """Give figures by name, `likeness` among them: what of the person and of the dance is in drawn frames."""
        ...

    def close(self) -> None:
        """Give native sessions back."""
        ...


def flicker(frames: Frames) -> float:
    """Mean absolute second difference along time, in levels of 255: 0 for anything that moves evenly."""
    if len(frames) < 3:
        return 0.0
    levels = frames.astype(np.int16)
    return float(np.abs(levels[2:] - 2 * levels[1:-1] + levels[:-2]).mean())


class FaceJudge:
    """Judges real people with the analyzer's recogniser; the photos must have been read by the same.

    every: how many frames apart faces are looked for; boxes in between are interpolated.
    """

    def __init__(self, *, analyzer: Callable[[], Analyzer], every: int) -> None:
        self._make, self._every = analyzer, every
        self._found: Analyzer | None = None

    @property
    def _analyzer(self) -> Analyzer:
        if self._found is None:
            self._found = self._make()
        return self._found

    def boxes(self, frames: Frames, poses: Frames) -> NDArray[np.float32]:
        """Find the largest face every few frames and interpolate in between."""
        at = np.arange(0, len(frames), self._every)
        seen = [(int(t), self._analyzer.detect(frames[t])) for t in at]
        found = {t: max(each, key=lambda d: d.side).box for t, each in seen if each}
        boxes = np.full((len(frames), 4), np.nan, np.float32)
        if found:
            times = np.array(sorted(found))
            known = np.stack([found[int(t)] for t in times])
            near = np.abs(np.arange(len(frames))[:, None] - times).min(1) < self._every
            for side in range(4):
                boxes[near, side] = np.interp(np.flatnonzero(near), times, known[:, side])
        return boxes

    def figures(self, frames: Frames, truth: Frames, poses: Frames, references: References) -> dict[str, float]:
        """Give the mean similarity of the faces that are found, the share of frames with one, and of limbs in place."""
        wanted = references.recognised
        faces = [self._analyzer(frame) for frame in frames[:: self._every]]
        likeness = [max(float(face.embedding @ wanted) for face in each) for each in faces if each]
        found = len(likeness) / len(faces)
        return {
            "likeness": float(np.mean(likeness)) if likeness else 0.0,
            "faces_found": found,
            "pose_agreement": agreement(_points(frames[:: self._every]), _points(truth[:: self._every])),
        }

    def close(self) -> None:
        """Give the native sessions back."""
        if self._found is not None:
            self._found.close()
            self._found = None


def _points(frames: Frames) -> list[NDArray[np.float32] | None]:
    with closing(PoseLandmarker()) as landmarker:
        return [landmarker(frame, 100 * number) for number, frame in enumerate(frames)]
