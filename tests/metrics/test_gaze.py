import numpy as np
import pytest

from facesmith.metrics.gaze import gaze_error

OPEN = np.zeros(52)


def eyes(angle):
    """Landmarks of two eyes 30 px wide that look to the right by an angle in degrees."""
    points = np.zeros((478, 3))
    for pupil, first, second, x in ((468, 33, 133, 100), (473, 362, 263, 200)):
        points[[first, second], 0] = x - 15, x + 15
        points[pupil, 0] = x + 0.42 * 30 * np.sin(np.radians(angle))
    return points


def test_gaze_error_is_the_angle_between_gazes():
    assert gaze_error(eyes(12), eyes(-8), OPEN, OPEN) == pytest.approx(20)
    assert gaze_error(eyes(5), eyes(5), OPEN, OPEN) == 0


def test_gaze_error_does_not_change_with_size_and_roll_of_the_head():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    assert gaze_error(eyes(12) @ turn.T * 3 + 7, eyes(2), OPEN, OPEN) == pytest.approx(10)


def test_gaze_error_of_shut_eyes_is_unknown():
    shut = OPEN.copy()
    shut[9] = 0.9
    assert np.isnan(gaze_error(eyes(0), eyes(0), shut, OPEN))
