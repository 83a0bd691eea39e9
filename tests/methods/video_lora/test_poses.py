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
from facesmith.methods.video_lora.pose_landmarks import PoseLandmarker
from facesmith.methods.video_lora.poses import (
    DancerTracker,
    check_limbs,
    draw_pose,
    find_missing_poses,
    follow_dancer,
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
    drawn = draw_pose(points, 256, 256, "limbs")
    left, right = points[11, :2], points[12, :2]  # shoulders
    middle = ((left + right) / 2).round().astype(int)
    assert drawn[middle[1] - 3 : middle[1] + 4, middle[0] - 3 : middle[0] + 4].max() > 150
    nose = points[0, :2].round().astype(int)
    assert drawn[: nose[1] + 10].max() == 0
    assert not draw_pose(None, 64, 64).any()


def film_walkers(walkers: list[tuple[float, float, float]], frames: int) -> list[list[np.ndarray]]:
    """Return the poses of people who walk: x at first, px a frame, and height."""
    found = []
    for time in range(frames):
        found.append([])
        for x, speed, height in walkers:
            points = np.ones((33, 3), np.float32)
            points[:, 0] = x + speed * time + np.linspace(0, height / 3, 33)
            points[:, 1] = 300 - np.linspace(0, height, 33)
            found[-1].append(points)
    return found


def test_dancer_tracker_people_who_cross_stay_themselves() -> None:
    tracker = DancerTracker()
    for time, poses in enumerate(film_walkers([(0, 12, 200), (400, -12, 120)], 30)):
        tracker.add(time, poses if time % 2 else poses[::-1])
    people = tracker.people()
    assert [len(one.points) for one in people] == [30, 30]
    assert people[0].points[29][:, 0].min() == pytest.approx(12 * 29)
    assert people[1].points[29][:, 0].min() == pytest.approx(400 - 12 * 29)


def test_dancer_tracker_person_found_twice_is_one() -> None:
    tracker = DancerTracker()
    for time, poses in enumerate(film_walkers([(0, 5, 200), (6, 5, 190)], 10)):
        tracker.add(time, poses)
    assert [len(one.points) for one in tracker.people()] == [10]


def test_check_limbs_close_up_raises_and_says_what_is_seen() -> None:
    points = np.ones((33, 3), np.float32)
    points[:, :2] = 50
    points[13:, 2] = 0
    with pytest.raises(UserError, match=r"0 of 9 frames show 4 limbs or more \(head in 9, shoulders in 9, arms"):
        check_limbs(Path("dance.mp4"), dict.fromkeys(range(9), points), (100, 100), 9, 4)
    check_limbs(Path("dance.mp4"), dict.fromkeys(range(9), points), (100, 100), 9, 2)


@pytest.mark.slow
def test_follow_dancer_two_people_the_face_decides(asset: Callable[[str], Path], tmp_path: Path) -> None:
    film = tmp_path / "two.mp4"
    with open_video(asset("two_people.mp4")) as reader, VideoWriter(film, mark=MARK, fps=15.0) as writer:
        for _, frame in reader.frames(range(64, 130, 2)):
            writer.write(cv2.resize(frame, (884, 496), interpolation=cv2.INTER_AREA))
    walks = follow_dancer(film, False)
    assert len(walks) >= 28
    assert min(points[:, 1].mean() for points in walks.values()) > 248  # she is below, he on a roof

    def recognise(frame: np.ndarray) -> list[tuple[np.ndarray, float]]:
        return [(np.array([0, 0, 884, 200], np.float32), 0.8)]

    stands = follow_dancer(film, False, recognise)
    assert len(stands) >= 32
    assert max(points[:, 1].mean() for points in stands.values()) < 248
    for points in (*walks.values(), *stands.values()):  # 35 px of the network's 224, yet nobody is upside down
        assert points[11:13, 1].mean() < points[23:25, 1].mean() < points[27:29, 1].mean()


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
