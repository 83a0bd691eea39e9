"""Faces in any place: turned, small in a large frame, cut by the border."""

import cv2
import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.analyzers.turned import turn_back
from facesmith.faces.face import Detection
from facesmith.faces.measures import iris_distance
from facesmith.media.images import read_image


@pytest.fixture(scope="module")
def analyzer():
    made = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    yield made
    made.close()


def turned_points(points: np.ndarray, turn: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return where points (N, 2) of a picture lie once `np.rot90` has turned it."""
    height, width = shape[:2]
    for _ in range(turn):
        points = np.stack([points[:, 1], width - 1 - points[:, 0]], 1)
        height, width = width, height
    return points


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_analyzer_turned_face_has_the_landmarks_of_the_upright_one(analyzer, astronaut, turn):
    (upright,) = analyzer(astronaut)
    (face,) = analyzer(np.ascontiguousarray(np.rot90(astronaut, turn)))
    expected = turned_points(upright.landmarks[:, :2], turn, astronaut.shape)
    off = np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean() / iris_distance(upright.landmarks)
    assert off < 0.05
    roll = (float(face.pose[2] - upright.pose[2]) + 90 * turn) % 360
    assert min(roll, 360 - roll) < 3
    assert face.embedding @ upright.embedding > 0.95


def test_analyzer_group_upside_down_is_found_whole(analyzer, asset):
    group = read_image(asset("multi_face.jpg"))
    faces = analyzer(np.ascontiguousarray(group[::-1, ::-1]))
    assert len(faces) == 5
    assert all(abs(abs(float(face.pose[2])) - 180) < 15 for face in faces)


@pytest.mark.parametrize("size", [22, 30])
def test_analyzer_small_face_in_a_large_frame_is_found(analyzer, astronaut, size):
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    scale = size / 113  # its face is 113 px high
    small = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame[600 : 600 + len(small), 1000 : 1000 + len(small)] = small
    assert analyzer.detect(frame) == []
    (face,) = analyzer(frame)
    assert face.box[0] > 1000
    assert float(np.diff(face.box.reshape(2, 2), axis=0).max()) == pytest.approx(size, rel=0.3)


def test_analyzer_face_cut_by_the_border_is_found(analyzer, astronaut):
    top, left = 63 + 68, 178
    (face,) = analyzer(np.ascontiguousarray(astronaut[top:]))
    assert face.box[1] < -20
    assert abs(float(face.box[0]) - left) < 15


def test_turn_back_is_the_inverse_of_rot90():
    points = np.array([[3, 4], [10, 2], [5, 9], [1, 1], [12, 7]], np.float32)
    for turn in range(4):
        moved = turned_points(points, turn, (20, 30))
        box = np.concatenate([moved.min(0), moved.max(0)]).astype(np.float32)
        back = turn_back(Detection(box, moved, 0.9), turn, 20, 30)
        assert back.keypoints == pytest.approx(points)
        assert back.box == pytest.approx([1, 1, 12, 9])
