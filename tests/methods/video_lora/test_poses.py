"""Pose videos out of dances, with MediaPipe and a real person."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.video_lora.poses import (
    PoseLandmarker,
    draw_pose,
    find_missing_poses,
    pose_agreement,
    render_pose_video,
)

MARK = Mark(identity="ada", consent="public_domain", model_hash=None, title="test", kind="generated")


@pytest.fixture(scope="module")
def portrait(asset: Callable[[str], Path]) -> np.ndarray:
    return cv2.resize(read_image(asset("astronaut.png")), (256, 256), interpolation=cv2.INTER_AREA)


def test_draw_pose_shows_limbs_without_the_face(portrait: np.ndarray) -> None:
    with closing(PoseLandmarker()) as landmarker:
        points = landmarker(portrait, 0)
        assert points is not None
        assert landmarker(np.zeros_like(portrait), 100) is None
    drawn = draw_pose(points, 256, 256)
    left, right = points[11, :2], points[12, :2]  # shoulders
    middle = ((left + right) / 2).round().astype(int)
    assert drawn[middle[1] - 3 : middle[1] + 4, middle[0] - 3 : middle[0] + 4].max() > 150
    nose = points[0, :2].round().astype(int)
    assert drawn[: nose[1] + 10].max() == 0
    assert not draw_pose(None, 64, 64).any()


def test_render_pose_video_has_the_frames_of_the_dance(portrait: np.ndarray, tmp_path: Path) -> None:
    dance = tmp_path / "dance.mp4"
    with VideoWriter(dance, mark=MARK, fps=16.0) as writer:
        for shift in range(5):
            writer.write(np.roll(portrait, 4 * shift, 1))
    (target,) = find_missing_poses([dance], [], tmp_path).values()
    render_pose_video(dance, target, MARK, progress=False)
    with open_video(dance) as one, open_video(target) as other:
        assert (len(other), other.width, other.height) == (len(one), one.width, one.height)
    assert find_missing_poses([dance], [target], tmp_path) == {}


def test_render_pose_video_of_nobody_raises(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "empty.mp4", mark=MARK, fps=16.0) as writer:
        for _ in range(5):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"a person is seen in 0 of 5 frames"):
        render_pose_video(tmp_path / "empty.mp4", tmp_path / "empty_pose.mp4", MARK, progress=False)
    assert not (tmp_path / "empty_pose.mp4").exists()


def test_pose_agreement_counts_near_landmarks() -> None:
    points = np.zeros((33, 3), np.float32)
    points[:, 2] = 1
    points[23:25, 1] = 100  # hips below the shoulders: a torso of 100 px
    moved = points.copy()
    moved[11:22, 0] += 30
    assert pose_agreement([points], [points]) == 1.0
    assert pose_agreement([moved, None], [points, points]) == pytest.approx(0.5)
    assert np.isnan(pose_agreement([None], [points]))
