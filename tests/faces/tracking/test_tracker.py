import numpy as np

from facesmith.faces.measures import IRIS_CENTRES
from facesmith.faces.tracking.tracker import THUMBNAIL, assign_tracks


def scene(count: int, shift: float = 2.0) -> dict[str, np.ndarray]:
    """One face that moves by `shift` px a frame, eyes 50 px apart, in an unchanging picture."""
    landmarks = np.zeros((count, 478, 3), np.float32)
    landmarks[..., 0] = 100 + shift * np.arange(count)[:, None]
    landmarks[:, IRIS_CENTRES[0], 0] += 50
    return {
        "positions": np.arange(count),
        "times": np.arange(count) / 30,
        "landmarks": landmarks,
        "embeddings": np.tile(np.float32([1, 0, 0]), (count, 1)),
        "thumbnails": np.tile(np.arange(THUMBNAIL**2, dtype=np.uint8), (count, 1)),
    }


def test_assign_tracks_moving_face_is_one_track() -> None:
    assert assign_tracks(**scene(9)).tolist() == [0] * 9


def test_assign_tracks_missing_frame_ends_track() -> None:
    faces = scene(6)
    faces["positions"] = np.array([0, 1, 2, 4, 5, 6])
    assert assign_tracks(**faces).tolist() == [0, 0, 0, 1, 1, 1]


def test_assign_tracks_long_step_ends_track() -> None:
    faces = scene(6)
    faces["times"][3:] += 0.5
    assert assign_tracks(**faces).tolist() == [0, 0, 0, 1, 1, 1]


def test_assign_tracks_changed_picture_is_cut() -> None:
    faces = scene(6)
    faces["thumbnails"][3:] = 255 - faces["thumbnails"][3:]
    assert assign_tracks(**faces).tolist() == [0, 0, 0, 1, 1, 1]


def test_assign_tracks_jump_is_cut_only_with_change() -> None:
    faces = scene(6)
    faces["landmarks"][3:, :, 0] += 40
    assert assign_tracks(**faces).tolist() == [0] * 6
    rng = np.random.default_rng(0)
    faces["thumbnails"][3:] = faces["thumbnails"][3:] // 2 + rng.integers(0, 50, THUMBNAIL**2, np.uint8)
    assert assign_tracks(**faces).tolist() == [0, 0, 0, 1, 1, 1]


def test_assign_tracks_light_change_is_no_cut() -> None:
    faces = scene(6)
    faces["thumbnails"] = faces["thumbnails"] // 2
    faces["thumbnails"][3:] += 60
    assert assign_tracks(**faces).tolist() == [0] * 6


def test_assign_tracks_other_person_is_other_track() -> None:
    faces = scene(6)
    faces["embeddings"][3:] = [0, 1, 0]
    assert assign_tracks(**faces).tolist() == [0, 0, 0, 1, 1, 1]


def test_assign_tracks_changed_order_keeps_tracks() -> None:
    left, right = scene(4), scene(4)
    right["landmarks"][..., 0] += 200
    both = {}
    for key in left:
        pairs = [(right[key][i], left[key][i]) if i % 2 else (left[key][i], right[key][i]) for i in range(4)]
        both[key] = np.array([value for pair in pairs for value in pair])
    assert assign_tracks(**both).tolist() == [0, 1, 1, 0, 0, 1, 1, 0]
