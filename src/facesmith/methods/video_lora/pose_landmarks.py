"""MediaPipe's landmarks of bodies: of the people in a frame, also where they are small in it."""

from typing import Final

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from facesmith import assets
from facesmith.faces.analyzers import native_log
from facesmith.methods.video_lora.pose_drawing import Frames, Points

native_log.ignore_profiling_ticks()

SMALL: Final = 0.4
"""Of a frame's longer side: whoever is smaller is looked at closer."""
_PEOPLE: Final = 4  # that are looked for in a frame
_WIDE: Final = 1.2  # width of a frame by its height, from which its squares see more
_ANOTHER: Final = 0.1  # intersection over union below which somebody was seen in the whole frame alone
_INSIDE: Final = 0.9  # share of the points that lie in the square, or it cuts the person


class PoseLandmarker:
    """Finds the 33 landmarks of people, frame after frame. One for each video; not thread-safe.

    Args:
        people: That are looked for at most.
        tracks: Whether people are looked for where the frame before had them; else anew in every frame.
    """

    def __init__(self, people: int = 1, *, tracks: bool = True) -> None:
        model = assets.fetch("pose_landmarker_full.task").read_bytes()
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=model),
            running_mode=vision.RunningMode.VIDEO if tracks else vision.RunningMode.IMAGE,
            num_poses=people,
        )
        self._tracks = tracks
        with native_log.filter_stderr():
            self._native = vision.PoseLandmarker.create_from_options(options)

    def __call__(self, frame: Frames, milliseconds: int) -> Points | None:
        """Find the landmarks of one person in a frame.

        Args:
            frame: (H,W,3) RGB uint8.
            milliseconds: Time of the frame, more than that of the frame before.

        Returns:
            (33,3), x and y in px and visibility 0..1; None if no person is seen.
        """
        found = self.find_all(frame, milliseconds)
        return found[0] if found else None

    def find_all(self, frame: Frames, milliseconds: int) -> list[Points]:
        """Find everybody's landmarks in a frame; see `__call__`."""
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        native = self._native
        with native_log.filter_stderr():
            answer = native.detect_for_video(picture, milliseconds) if self._tracks else native.detect(picture)
        found = answer.pose_landmarks
        height, width = frame.shape[:2]
        return [np.array([[p.x * width, p.y * height, p.visibility] for p in one], np.float32) for one in found]

    def close(self) -> None:
        """Free the native graph."""
        with native_log.filter_stderr():
            self._native.close()


class CrowdLandmarker:
    """Finds the landmarks of several people in a video's frames.

    The network that finds people sees a picture at 224 px. Where those in a wide frame are small, it misses some, makes
    one of two, or turns them upside down; so they are looked for in the frame's left and right square as well. One for
    each video; not thread-safe.
    """

    def __init__(self) -> None:
        self._whole, *self._squares = (PoseLandmarker(_PEOPLE) for _ in range(3))

    def find_all(self, frame: Frames, milliseconds: int) -> list[Points]:
        """Find everybody's landmarks in a frame; somebody may be found twice.

        Args:
            frame: (H,W,3) RGB uint8.
            milliseconds: Time of the frame, more than that of the frame before.

        Returns:
            (33,3) each, x and y in px and visibility 0..1.
        """
        found = self._whole.find_all(frame, milliseconds)
        height, width = frame.shape[:2]
        if width < _WIDE * height or any(np.ptp(one[:, :2], axis=0).max() > SMALL * width for one in found):
            return found
        closer: list[Points] = []
        for landmarker, left in zip(self._squares, (0, width - height), strict=True):
            for one in landmarker.find_all(frame[:, left : left + height], milliseconds):
                if np.mean((one[:, 0] >= 0) & (one[:, 0] < height)) >= _INSIDE:
                    one[:, 0] += left
                    closer.append(one)
        return closer + [one for one in found if all(overlap(one, other) < _ANOTHER for other in closer)]

    def close(self) -> None:
        """Free the native graphs."""
        for one in (self._whole, *self._squares):
            one.close()


def overlap(one: Points, other: Points) -> float:
    """Return intersection over union of the boxes around two poses."""
    low, high = (np.stack([edge(pose[:, :2], 0) for pose in (one, other)]) for edge in (np.min, np.max))
    shared = np.prod(np.maximum(high.min(0) - low.max(0), 0.0))
    return float(shared / max(np.prod(high - low, axis=1).sum() - shared, 1e-6))
