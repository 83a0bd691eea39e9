"""Pose videos of dances: the limbs that MediaPipe's pose landmarker finds, drawn on black, without the face."""

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from numpy.typing import NDArray

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.analyzers import native_log
from facesmith.media.pairing import pair_by_path
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.clips import dance_name
from facesmith.progress import track

Frames = NDArray[np.uint8]

POINTS: Final = 33
_FIRST_OF_BODY: Final = 11  # the points before are the face's: drawn, they would fight the person's
_LIMBS: Final = (
    (11, 13), (13, 15), (15, 17), (15, 19), (12, 14), (14, 16), (16, 18), (16, 20),
    (11, 12), (23, 24), (11, 23), (12, 24),
    (23, 25), (25, 27), (27, 31), (24, 26), (26, 28), (28, 32),
)  # fmt: skip
_COLOURS: Final = tuple(
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number / len(_LIMBS), 0.9, 1.0))
    for number in range(len(_LIMBS))
)
_VISIBLE: Final = 0.5
_FEWEST_SEEN: Final = 0.5  # share of the frames that must show a person


class PoseLandmarker:
    """Finds the 33 landmarks of one person, frame after frame. One for each video; not thread-safe."""

    def __init__(self) -> None:
        model = assets.fetch("pose_landmarker_full.task").read_bytes()
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=model), running_mode=vision.RunningMode.VIDEO, num_poses=1
        )
        with native_log.filter_stderr():
            self._native = vision.PoseLandmarker.create_from_options(options)

    def __call__(self, frame: Frames, milliseconds: int) -> NDArray[np.float32] | None:
        """Find the landmarks of a frame.

        Args:
            frame: (H,W,3) RGB uint8.
            milliseconds: Time of the frame, more than that of the frame before.

        Returns:
            (33,3), x and y in px and visibility 0..1; None if no person is seen.
        """
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        with native_log.filter_stderr():
            found = self._native.detect_for_video(picture, milliseconds).pose_landmarks
        if not found:
            return None
        height, width = frame.shape[:2]
        return np.array([[p.x * width, p.y * height, p.visibility] for p in found[0]], np.float32)

    def close(self) -> None:
        """Free the native graph."""
        self._native.close()


def draw_pose(points: NDArray[np.float32] | None, height: int, width: int) -> Frames:
    """Draw limbs on black.

    Args:
        points: (33,3) landmarks of `PoseLandmarker`; None: nothing is drawn. Limbs that are not visible are skipped.
        height: Of the picture in px.
        width: Of the picture in px.

    Returns:
        (H,W,3) RGB uint8.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    if points is None:
        return picture
    thick = max(2, round(min(height, width) / 90))
    for (start, end), colour in zip(_LIMBS, _COLOURS, strict=True):
        if min(points[start, 2], points[end, 2]) >= _VISIBLE:
            places = [tuple(round(float(v)) for v in points[at, :2]) for at in (start, end)]
            cv2.line(picture, places[0], places[1], colour, thick, cv2.LINE_AA)
    return picture


def render_pose_video(dance: Path, target: Path, mark: Mark, progress: bool) -> None:
    """Write the pose video of a dance, frame for frame at its times.

    Args:
        dance: Video of one person.
        target: File to write.
        mark: Says that the file is synthetic.
        progress: Whether a bar is shown.

    Raises:
        UserError: too few frames show a person.
    """
    landmarker = PoseLandmarker()
    seen = 0
    try:
        with open_video(dance) as reader, VideoWriter(target, like=dance, mark=mark, sound=False) as writer:
            frames = reader.frames(range(len(reader)))
            shown = track(frames, f"poses of {dance.name}", len(reader), shown=progress, transient=True)
            for index, frame in shown:
                points = landmarker(frame, round(1000 * float(reader.times[index])))
                seen += points is not None
                writer.write(draw_pose(points, *frame.shape[:2]), index)
            if seen < _FEWEST_SEEN * len(reader):
                raise UserError(
                    f"{dance}: a person is seen in {seen} of {len(reader)} frames; give a video that shows the whole "
                    "dancer, or a pose video of your own"
                )
    finally:
        landmarker.close()


def find_missing_poses(videos: Sequence[Path], poses: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Find the dances that have no pose video yet.

    Args:
        videos: Of dances; pose videos among them are skipped.
        poses: Pose videos, in a folder of their own or beside the dances.
        folder: Where missing pose videos go.

    Returns:
        Each dance's pose video, still to be written.
    """
    dances = [path for path in videos if not path.stem.endswith("_pose")]
    drawn = [path for path in poses if path not in dances]
    found = pair_by_path(dances, drawn, dance_name)
    root = Path(os.path.commonpath([path.parent for path in dances])) if dances else Path()
    # Dances of one name in several folders have pose videos in folders of the same names.
    return {path: folder / path.relative_to(root).with_name(f"{path.stem}_pose.mp4") for path in found.missing}


def pose_agreement(
    found: Sequence[NDArray[np.float32] | None], expected: Sequence[NDArray[np.float32] | None]
) -> float:
    """Compute the share of body landmarks within a fifth of the torso of where they should be.

    The torso reaches from the middle of the shoulders to that of the hips.

    Args:
        found: (33,3) landmarks of each frame, None if no person is seen.
        expected: Those of the true video.

    Returns:
        0..1 over the frames in which both are seen; NaN when there are none.
    """
    close: list[bool] = []
    for one, other in zip(found, expected, strict=True):
        if one is None or other is None:
            continue
        torso = float(np.linalg.norm(other[11:13, :2].mean(0) - other[23:25, :2].mean(0)))
        visible = other[_FIRST_OF_BODY:, 2] >= _VISIBLE
        away = np.linalg.norm(one[_FIRST_OF_BODY:, :2] - other[_FIRST_OF_BODY:, :2], axis=1)[visible]
        close += (away < 0.2 * max(torso, 1.0)).tolist()
    return float(np.mean(close)) if close else float("nan")
