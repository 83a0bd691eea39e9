from contextlib import closing

import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points
from facesmith.faces.geometry.masks import draw_hull

SIZE = 256


@pytest.fixture(scope="module")
def landmarks(astronaut):
    """(478,3) px of an aligned crop of SIZE."""
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        (face,) = analyzer(astronaut)
    return transform_points(face.landmarks, estimate_alignment(face.keypoints, "arcface_128", SIZE))


def test_box_mask_matches_contract():
    mask = masks.box_mask(SIZE, 0.3, (0, 0, 0, 0))
    # int(256 / 2 * .3) = 38: a border of 19 px is zero before a blur of 9.5
    assert mask[SIZE // 2, 19] == pytest.approx(0.52, abs=0.03)
    assert mask[SIZE // 2, 0] < 0.06
    assert mask[SIZE // 2, 60] == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(mask, mask[::-1, ::-1], atol=1e-6)


def test_box_mask_padding_is_top_right_bottom_left_percent():
    mask = masks.box_mask(100, 0.0, (10, 20, 30, 40))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 69, 40, 79)
    assert masks.box_mask(100, 0.0, (0, 0, 0, 0)).sum() == 98 * 98  # a row at each side at the least


def test_soften_mask_below_half_becomes_zero():
    plane = np.full((SIZE, SIZE), 0.49, np.float32)
    assert masks.soften_mask(plane).max() == 0
    assert masks.soften_mask(np.ones_like(plane)).min() == 1
    assert masks.soften_mask(np.full_like(plane, 0.75)).max() == pytest.approx(0.5)


def test_hull_mask_covers_face_without_corners(landmarks):
    mask = masks.hull_mask(landmarks, SIZE)
    for point in (1, 33, 263, 61, 291):
        x, y = landmarks[point, :2].round().astype(int)
        assert mask[y, x] == 1
    assert mask[:8, :8].max() == 0
    assert 0.2 < mask.mean() < 0.7


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("mouth", [13, 61, 291], [1, 33, 10]),
        ("eyes", [468, 473], [1, 13]),
        ("brows", [105, 334], [1, 13, 468]),
        ("nose", [1, 4], [468, 13, 10]),
        ("skin", [50, 280], [13, 468]),
        ("upper_face", [468, 105, 6], [13, 199]),
        ("lower_face", [13, 199], [468, 105]),
    ],
)
def test_region_mask_covers_named_landmarks(landmarks, name, inside, outside):
    mask = masks.region_mask(landmarks, SIZE, [name])
    value = {p: mask[tuple(landmarks[p, 1::-1].round().astype(int))] for p in (*inside, *outside)}
    assert all(value[p] > 0.6 for p in inside), value
    assert all(value[p] == 0 for p in outside), value


def test_region_mask_several_names_is_maximum(landmarks):
    both = masks.region_mask(landmarks, SIZE, ["mouth", "eyes"])
    single = np.maximum(masks.region_mask(landmarks, SIZE, ["mouth"]), masks.region_mask(landmarks, SIZE, ["eyes"]))
    np.testing.assert_allclose(both, single, atol=0.02)
    assert set(masks.REGION_NAMES) == {"mouth", "eyes", "brows", "nose", "skin", "upper_face", "lower_face"}
    whole = masks.region_mask(landmarks, SIZE, ["upper_face", "lower_face"])
    outline = draw_hull(landmarks[topology.OVAL], SIZE)
    assert np.abs(whole - masks.soften_mask(outline)).mean() < 0.02
