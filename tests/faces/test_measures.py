import cv2
import numpy as np
import pytest

from facesmith.faces.geometry import topology
from facesmith.faces.measures import eye_distance, jitter, laplacian_variance, mean_jitter


def moved(path: np.ndarray) -> np.ndarray:
    """Landmarks (N,478,3) that all follow one path (N,2), with eye corners 100 px apart."""
    points = np.zeros((len(path), 478, 3), np.float32)
    points[..., :2] = path[:, None]
    points[:, topology.LEFT_EYE_OUTER, 0] += 100
    return points


def test_jitter_zigzag_is_half_the_second_difference_in_eye_distances() -> None:
    times = np.arange(4) / 30
    zigzag = moved(np.array([[0, 0], [10, 0], [0, 0], [10, 0]], float))
    assert eye_distance(zigzag).tolist() == [100] * 4
    assert jitter(times, zigzag) == pytest.approx([np.nan, 0.1, 0.1, np.nan], nan_ok=True)
    assert mean_jitter(times, zigzag, np.zeros(4, np.int32)) == pytest.approx(0.1)
    assert mean_jitter(times[:2], zigzag[:2], np.zeros(2, np.int32)) is None
    assert mean_jitter(times, zigzag, np.array([0, 0, 1, 1], np.int32)) is None


def test_jitter_steady_motion_at_uneven_steps_is_zero() -> None:
    steady = moved(np.stack([np.array([0, 1, 3, 4.0]), np.zeros(4)], axis=1))
    assert jitter(np.array([0, 1, 3, 4.0]), steady)[1:3] == pytest.approx([0, 0], abs=1e-6)


def test_jitter_missing_face_is_not_bridged() -> None:
    line = moved(np.stack([np.arange(5.0), np.arange(5.0)], axis=1))[..., :2]
    assert jitter(np.arange(5.0), line)[1:4].tolist() == [0, 0, 0]
    line[2] += 1
    assert jitter(np.arange(5.0), line)[2] == pytest.approx(np.sqrt(2) / 100)
    line[2] = np.nan
    assert np.isnan(jitter(np.arange(5.0), line)).all()


def test_laplacian_variance_inside_counts_only_there() -> None:
    grey = np.zeros((32, 32), np.uint8)
    grey[:, 16:] = np.random.default_rng(0).integers(0, 255, (32, 16), np.uint8)
    inside = np.zeros((32, 32), bool)
    assert laplacian_variance(grey, inside) == 0
    inside[:, :8] = True
    assert laplacian_variance(grey, inside) == 0
    assert laplacian_variance(grey) > laplacian_variance(cv2.GaussianBlur(grey, (0, 0), 2)) > 0
