import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.analyzers.follower import Follower
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import transform_points
from facesmith.faces.geometry.pose import turn_pose
from facesmith.faces.measures import iris_distance
from facesmith.media.video import open_video


@pytest.fixture(scope="module")
def analyzer():
    made = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    yield made
    made.close()


@pytest.fixture(scope="module")
def seen(analyzer):
    return analyzer(astronaut())[0]


@pytest.fixture(scope="module")
def drive(asset):
    with open_video(asset("carphone_pristine.mp4")) as reader:
        return [frame for _, frame in reader.frames(range(6))]


@pytest.fixture(scope="module")
def follower(asset):
    return Follower(asset("face_landmarker.task"))


def off(a, b):
    """Return the mean distance of landmarks in iris distances."""
    return np.linalg.norm((a - b)[:, :2], axis=1).mean() / iris_distance(a)


@pytest.mark.parametrize(("angle", "scale"), [(0, 1.0), (12, 1.1), (-50, 1.0), (175, 0.6)])
def test_follower_finds_a_face_that_moved(follower, analyzer, seen, angle, scale):
    matrix = cv2.getRotationMatrix2D((224, 118), angle, scale)
    moved = cv2.warpAffine(astronaut(), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    expected = transform_points(seen.landmarks, matrix)
    shifted = expected + np.array([6, -4, 0], np.float32)  # where it was a frame ago
    found = follower.find(moved, shifted)
    assert found.dtype == np.float32
    assert off(expected, found) < 0.03 < off(expected, shifted)
    turned = turn_pose(seen.pose, seen.landmarks, found)
    roll = (turned[2] - seen.pose[2] + angle + 180) % 360 - 180  # turned against the clock by `angle`
    assert abs(roll) < 3


def test_follower_sees_nothing_where_there_is_no_face(follower, seen):
    assert follower.find(np.full((512, 512, 3), 90, np.uint8), seen.landmarks) is None
    assert follower.find(astronaut(), np.full_like(seen.landmarks, np.nan)) is None


def test_follower_agrees_with_the_landmarker_along_a_film(follower, analyzer, drive):
    whole = [analyzer.analyse(frame, analyzer.detect(frame), embed=False)[0] for frame in drive]
    landmarks, pose = whole[0].landmarks, whole[0].pose
    for frame, face in zip(drive[1:], whole[1:], strict=True):
        found = follower.find(frame, landmarks)
        pose, landmarks = turn_pose(pose, landmarks, found), found
        assert off(face.landmarks, found) < 0.05
        assert np.abs(pose - face.pose).max() < 5
