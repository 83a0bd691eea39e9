import numpy as np
import pytest
from scipy.signal import savgol_filter

from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.geometry import topology
from facesmith.faces.measures import mean_jitter
from facesmith.faces.tracking.smoothing import smooth_landmarks

SMOOTHING = SmoothingConfig(window_seconds=6 / 30, polyorder=2)


def landmarks(path: np.ndarray) -> np.ndarray:
    """Points that all follow one path (N,2), with eye corners 100 px apart."""
    points = np.zeros((len(path), 478, 3), np.float32)
    points[..., :2] = path[:, None]
    points[:, topology.LEFT_EYE_OUTER, 0] += 100
    return points


def noisy(times: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = np.stack([200 + 60 * np.sin(2 * times), 300 + 40 * times**2], axis=1)
    return landmarks(true), landmarks(true) + rng.normal(0, 1, (len(times), 478, 3)).astype(np.float32)


def test_smooth_landmarks_even_steps_equals_scipy() -> None:
    times = np.arange(40) / 30
    _, shaky = noisy(times)
    result, done = smooth_landmarks(times, shaky, np.zeros(40, np.int32), SMOOTHING)
    expected = savgol_filter(shaky.astype(np.float64), 7, 2, axis=0, mode="interp")
    assert np.abs(result - expected).mean() < 0.1 * np.abs(shaky - expected).mean()
    assert done.all()


def test_smooth_landmarks_blink_is_kept() -> None:
    times = np.arange(60) / 30
    true, shaky = noisy(times)
    lid = 159
    for points in (true, shaky):
        points[30:34, lid, 1] += np.array([25, 50, 50, 25])
    tracks = np.zeros(60, np.int32)
    steady, _ = smooth_landmarks(times, shaky, tracks, SMOOTHING)
    assert np.abs(steady[31:33, lid, 1] - true[31:33, lid, 1]).max() < 4
    plain = savgol_filter(shaky.astype(np.float64), 7, 2, axis=0)
    assert np.abs(plain[31:33, lid, 1] - true[31:33, lid, 1]).max() > 4
    before, after = mean_jitter(times, shaky, tracks), mean_jitter(times, steady, tracks)
    assert before is not None
    assert after is not None
    assert after < 0.5 * before


def test_smooth_landmarks_blink_below_the_noise_of_points_is_kept() -> None:
    times = np.arange(60) / 30
    true, shaky = noisy(times)
    shaky += shaky - true
    ring = topology.LEFT_EYE
    shaky[:, ring[8], 0] += 70  # from the other corner, which is 100 px away: an eye of 30 px
    shaky[:, ring[9:], 1] -= 12
    shaky[30, ring[9:], 1] += 6
    steady, _ = smooth_landmarks(times, shaky, np.zeros(60, np.int32), SMOOTHING)
    found, height = ((points[:, ring[1:8], 1] - points[:, ring[9:], 1]).mean(1) for points in (shaky, steady))
    assert height[30] == pytest.approx(found[30], abs=2)  # point by point it was off by 3.6
    assert np.delete(height, 30).std() < 0.8 * np.delete(found, 30).std()


def test_smooth_landmarks_uneven_steps_agree_with_even() -> None:
    times = np.arange(40) / 30
    _, shaky = noisy(times)
    even, _ = smooth_landmarks(times, shaky, np.zeros(40, np.int32), SMOOTHING)
    nudged = times + 1e-3 / 30 * 4 * (np.arange(40) % 2)
    uneven, _ = smooth_landmarks(nudged, shaky, np.zeros(40, np.int32), SMOOTHING)
    assert np.abs(uneven - even).mean() < 0.02


def test_smooth_landmarks_uneven_steps_keep_quadratic() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([1, 1, 2, 3], 80)) / 60
    quadratic = landmarks(np.stack([5 + 90 * times - 30 * times**2, 10 * times], axis=1))
    tracks = np.zeros(80, np.int32)
    np.testing.assert_allclose(smooth_landmarks(times, quadratic, tracks, SMOOTHING)[0], quadratic, atol=1e-2)
    true, shaky = noisy(times)
    steady, done = smooth_landmarks(times, shaky, tracks, SMOOTHING)
    assert done.mean() > 0.9
    assert np.abs(steady - true)[done].mean() < 0.75 * np.abs(shaky - true)[done].mean()
    before, after = mean_jitter(times, shaky, tracks), mean_jitter(times, steady, tracks)
    assert before is not None
    assert after is not None
    assert after < 0.6 * before


def test_smooth_landmarks_tracks_are_not_mixed() -> None:
    times = np.arange(40) / 30
    points = landmarks(np.where(times[:, None] < 0.66, [[100.0, 50.0]], [[400.0, 80.0]]))
    tracks = (times >= 0.66).astype(np.int32)
    np.testing.assert_allclose(smooth_landmarks(times, points, tracks, SMOOTHING)[0], points, atol=1e-3)


@pytest.mark.parametrize(("count", "step"), [(3, 1 / 30), (40, 9 / 30), (1, 1.0)])
def test_smooth_landmarks_short_or_sparse_is_unchanged(count: int, step: float) -> None:
    times = np.arange(count) * step
    _, shaky = noisy(times)
    result, done = smooth_landmarks(times, shaky, np.zeros(count, np.int32), SMOOTHING)
    np.testing.assert_array_equal(result, shaky)
    assert not done.any()


def test_smooth_landmarks_track_shorter_than_window_is_fitted() -> None:
    times = np.arange(5) / 30
    true, shaky = noisy(times)
    result, done = smooth_landmarks(times, shaky, np.zeros(5, np.int32), SMOOTHING)
    assert done.all()
    assert np.abs(result - true).mean() < np.abs(shaky - true).mean()


def test_smooth_landmarks_window_zero_is_off() -> None:
    times = np.arange(40) / 30
    _, shaky = noisy(times)
    result, done = smooth_landmarks(
        times, shaky, np.zeros(40, np.int32), SmoothingConfig(window_seconds=0.0, polyorder=2)
    )
    np.testing.assert_array_equal(result, shaky)
    assert not done.any()
