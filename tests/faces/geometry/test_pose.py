import numpy as np
import pytest

from facesmith.faces.geometry.pose import pose_of_rotation, rotation_of_pose, turn_pose


@pytest.mark.parametrize("pose", [(0, 0, 0), (20, -40, 10), (-35, 60, -170)])
def test_pose_of_rotation_undoes_rotation_of_pose(pose):
    np.testing.assert_allclose(pose_of_rotation(rotation_of_pose(np.array(pose))), pose, atol=1e-3)


def test_turn_pose_follows_landmarks_whose_mouth_opens():
    points = np.random.default_rng(0).normal(size=(478, 3)).astype(np.float32) * 50
    before, after = np.array([5, 10, -3], np.float32), np.array([-12, 41, 20], np.float32)
    axes = np.diag([1, -1, -1])  # landmarks' y points down, their z away from the camera
    turn = axes @ rotation_of_pose(after) @ rotation_of_pose(before).T @ axes
    moved = (1.3 * points @ turn.T + [40, 7, 0]).astype(np.float32)
    moved[[13, 14, 17, 152]] += 25
    np.testing.assert_allclose(turn_pose(before, points, moved), after, atol=0.01)
