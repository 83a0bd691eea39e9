import numpy as np
import pytest

from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.measures import mean_jitter
from facesmith.faces.tracking.smoothing import smooth_landmarks
from facesmith.faces.tracking.stream import DetectedFrame, StreamTracker

FPS = 30
STILL = np.full(256, 90, np.uint8)
OTHER_SHOT = np.tile(np.array([0, 255], np.uint8), 128)
SHAPE = np.random.default_rng(7).uniform(-60, 60, (478, 3)).astype(np.float32)
SHAPE[468, :], SHAPE[473, :] = (-30, 0, 0), (30, 0, 0)


def face(x: float, y: float = 100.0, embedding: float = np.nan, noise: np.ndarray | float = 0.0) -> Face:
    points = (SHAPE + np.array([x, y, 0]) + noise).astype(np.float32)
    direction = np.full(4, np.nan, np.float32)
    if not np.isnan(embedding):
        direction = np.array([np.cos(embedding), np.sin(embedding), 0, 0], np.float32)
    box = np.array([x - 60, y - 60, x + 60, y + 60], np.float32)
    return Face(box, 0.9, points, np.zeros(52, np.float32), np.zeros(3, np.float32), direction)


def run(frames, *, window=0.25, max_gap=0.4, thumbnails=None):
    seen = (
        DetectedFrame(i, i / FPS, STILL if thumbnails is None else thumbnails[i], faces)
        for i, faces in enumerate(frames)
    )
    return list(
        StreamTracker[int](smoothing=SmoothingConfig(window_seconds=window, polyorder=2), max_gap=max_gap)(seen)
    )


def test_stream_tracker_yields_all_frames_in_order():
    out = run([[face(100)] if i % 7 else [] for i in range(50)])
    assert [one.item for one in out] == list(range(50))


def test_stream_tracker_reduces_jitter_without_lag():
    random = np.random.default_rng(1)
    path = 100 + 80 * np.sin(np.arange(120) / 12)
    frames = [[face(x, noise=random.normal(0, 1, (478, 3)))] for x in path]
    out = run(frames)
    times = np.arange(120) / FPS
    found = np.stack([one[0].landmarks for one in frames])
    steady = np.stack([next(iter(one.faces.values())).landmarks for one in out])
    one_track = np.zeros(120, np.int32)
    assert mean_jitter(times, steady, one_track) < 0.6 * mean_jitter(times, found, one_track)
    middle = steady[..., 0].mean(1) - SHAPE[:, 0].mean()
    errors = {shift: np.abs(middle[5:-5] - path[5 + shift : 115 + shift]).mean() for shift in (-1, 0, 1)}
    assert errors[0] < 0.25
    assert errors[-1] == pytest.approx(errors[1], rel=0.15)
    assert errors[0] < 0.2 * errors[1]


def test_stream_tracker_equals_smoothing_whole_track():
    random = np.random.default_rng(2)
    frames = [[face(100 + i, noise=random.normal(0, 1, (478, 3)))] for i in range(60)]
    steady = np.stack([one.faces[0].landmarks for one in run(frames)])
    times, found = np.arange(60) / FPS, np.stack([one[0].landmarks for one in frames])
    whole, _ = smooth_landmarks(times, found, np.zeros(60, np.int32), SmoothingConfig(window_seconds=0.25, polyorder=2))
    assert np.abs(steady[10:] - whole[10:]).mean() < 0.06
    assert np.abs(steady - found).mean() > 0.4


def test_stream_tracker_gap_is_bridged_linearly():
    frames = [[face(100 + 2 * i)] if not 20 <= i < 28 else [] for i in range(60)]
    out = run(frames, window=0.0)
    assert all(set(one.faces) == {0} for one in out)
    assert [bool(one.bridged) for one in out] == [20 <= i < 28 for i in range(60)]
    assert out[24].faces[0].landmarks[:, 0] == pytest.approx(SHAPE[:, 0] + 148, abs=1e-3)
    assert out[24].faces[0].box == pytest.approx([88, 40, 208, 160], abs=1e-3)


def test_stream_tracker_long_gap_starts_new_track():
    out = run([[face(100)] if not 20 <= i < 36 else [] for i in range(60)])
    assert [set(one.faces) for one in out] == [{0}] * 20 + [set()] * 16 + [{1}] * 24


def test_stream_tracker_cut_is_not_bridged():
    frames = [[face(100)] if not 18 <= i < 22 else [] for i in range(20)]
    frames += [[]] * 2 + [[face(130)] for _ in range(20)]
    shots = [STILL] * 20 + [OTHER_SHOT] * 22
    out = run(frames, thumbnails=shots)
    assert [len(one.faces) for one in out] == [1] * 18 + [0] * 4 + [1] * 20
    assert next(iter(out[17].faces.values())).landmarks == pytest.approx(SHAPE + np.array([100, 100, 0]), abs=1e-3)
    assert next(iter(out[22].faces.values())).landmarks == pytest.approx(SHAPE + np.array([130, 100, 0]), abs=1e-3)


def test_stream_tracker_two_faces_keep_numbers():
    frames = [[face(300 - i, embedding=0.0 if i % 8 == 0 else np.nan), face(100 + i)] for i in range(40)]
    out = run(frames)
    assert all(one.faces[0].landmarks[:, 0].mean() > one.faces[1].landmarks[:, 0].mean() for one in out)
    assert out[3].faces[0].embedding == pytest.approx([1, 0, 0, 0])
    assert np.isnan(out[3].faces[1].embedding).all()


def test_stream_tracker_other_person_is_other_track():
    frames = [[face(100, embedding=0.0)] for _ in range(10)] + [[face(104, embedding=1.5)] for _ in range(10)]
    assert [set(one.faces) for one in run(frames)] == [{0}] * 10 + [{1}] * 10


def test_stream_tracker_holds_back_few_frames():
    taken = []

    def frames():
        for i in range(100):
            taken.append(i)
            yield DetectedFrame(i, i / FPS, STILL, [face(100)])

    stream = StreamTracker[int](smoothing=SmoothingConfig(window_seconds=0.25, polyorder=2), max_gap=0.4)(frames())
    for i, one in zip(range(90), stream, strict=False):
        assert one.item == i
        assert len(taken) - i <= 6
