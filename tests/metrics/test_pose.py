import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.metrics.pose import pose_error


def turn(points: np.ndarray, pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotate (N,3) px by degrees: chin down, nose to the right, clockwise in the picture."""
    p, y, r = np.radians([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return points @ (about_z @ about_y @ about_x).T


@pytest.fixture(scope="module")
def faces(carphone_frames: list[np.ndarray]) -> list:
    analyzer = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.6)
    found = [analyzer(frame)[0] for frame in carphone_frames[::12]]
    analyzer.close()
    return found


def test_pose_error_turned_head_is_its_rotation(faces: list) -> None:
    points = faces[0].landmarks
    for angles in ([12, 0, 0], [0, -20, 0], [0, 0, 8], [5, 10, -4]):
        assert pose_error(turn(points, *angles), points) == pytest.approx(angles, abs=0.6)
    assert pose_error(points * 1.3 + 7, points) == pytest.approx([0, 0, 0], abs=1e-3)


def test_pose_error_agrees_with_analyzer_between_frames(faces: list) -> None:
    apart = np.array([face.pose - faces[0].pose for face in faces[1:]])
    measured = np.array([pose_error(face.landmarks, faces[0].landmarks) for face in faces[1:]])
    assert np.abs(apart[:, :2]).max() > 8
    assert np.abs(apart - measured).mean() < 1
    assert np.corrcoef(apart[:, 1], measured[:, 1])[0, 1] > 0.97
