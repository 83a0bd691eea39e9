import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry import alignment
from facesmith.faces.geometry.alignment import TEMPLATES
from facesmith.faces.geometry.topology import BLENDSHAPES


@pytest.fixture
def five() -> np.ndarray:
    return np.array([[210.0, 140], [280, 150], [240, 190], [212, 222], [268, 228]])


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_estimate_alignment_template_onto_itself_is_identity(template: str) -> None:
    np.testing.assert_allclose(
        alignment.estimate_alignment(TEMPLATES[template] * 96, template, 96), np.eye(2, 3), atol=1e-9
    )


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_estimate_alignment_recovers_known_similarity(template: str) -> None:
    known = np.array([[0.6, -0.3, 20.0], [0.3, 0.6, -7.0]])
    five = alignment.transform_points(TEMPLATES[template] * 256, alignment.invert_transform(known))
    np.testing.assert_allclose(alignment.estimate_alignment(five, template, 256), known, atol=1e-9)


def test_estimate_alignment_bad_fit_agrees_with_opencv(five: np.ndarray) -> None:
    theirs, _ = cv2.estimateAffinePartial2D(
        five, TEMPLATES["arcface_128"] * 256, method=cv2.RANSAC, ransacReprojThreshold=100
    )
    ours = alignment.estimate_alignment(five, "arcface_128", 256)
    np.testing.assert_allclose(
        alignment.transform_points(five, ours), alignment.transform_points(five, theirs), atol=0.05
    )


def test_estimate_alignment_coincident_points_are_refused() -> None:
    with pytest.raises(ValueError, match="one place"):
        alignment.estimate_alignment(np.ones((5, 2)), "ffhq_512", 512)


def test_template_transform_arcface_128_contains_arcface_112(five: np.ndarray) -> None:
    np.testing.assert_allclose(
        alignment.template_transform("arcface_112_v2", 112, "arcface_128", 128), [[1, 0, 8], [0, 1, 0]], atol=1e-4
    )
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    wide = alignment.warp_face(image, alignment.estimate_alignment(five, "arcface_128", 128), 128)
    narrow = alignment.warp_face(image, alignment.estimate_alignment(five, "arcface_112_v2", 112), 112)
    assert np.abs(wide[0:112, 8:120].astype(int) - narrow).max() <= 2


def test_transform_points_round_trip_keeps_depth(five: np.ndarray) -> None:
    matrix = alignment.estimate_alignment(five, "ffhq_512", 512)
    points = np.random.default_rng(1).normal(200, 50, (4, 478, 3)).astype(np.float32)
    there = alignment.transform_points(points, matrix)
    assert there.dtype == np.float32
    np.testing.assert_allclose(there[..., 2], points[..., 2] * alignment.transform_scale(matrix), rtol=1e-5)
    np.testing.assert_allclose(alignment.transform_points(there, alignment.invert_transform(matrix)), points, atol=1e-3)


def test_warp_face_keypoints_land_on_template(five: np.ndarray) -> None:
    known = np.array([[0.5, 0.1, -30.0], [-0.1, 0.5, 10.0]])
    dots = alignment.transform_points(TEMPLATES["arcface_128"] * 128, alignment.invert_transform(known))
    image = np.zeros((400, 500, 3), np.uint8)
    for x, y in dots:
        cv2.circle(image, (round(x), round(y)), 3, (255, 255, 255), -1)
    crop = alignment.warp_face(image, alignment.estimate_alignment(dots, "arcface_128", 128), 128)
    for x, y in TEMPLATES["arcface_128"] * 128:
        assert crop[round(y), round(x)].min() > 200
    assert (crop > 100).mean() < 0.01


@pytest.mark.parametrize("shrink", [2.0, 3.3, 8.0, 30.0])
def test_warp_face_shrinking_does_not_alias(shrink: float) -> None:
    side = int(64 * shrink)
    board = ((np.indices((side, side)).sum(0) % 2) * 255).astype(np.uint8)
    crop = alignment.warp_face(np.dstack([board] * 3), np.array([[1 / shrink, 0, 0], [0, 1 / shrink, 0]]), 64)
    inner = crop[4:-4, 4:-4].astype(float)
    assert abs(inner.mean() - 127.5) < 3
    assert inner.std() < 26


def test_warp_face_whole_factor_is_pixel_mean() -> None:
    image = np.random.default_rng(2).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    crop = alignment.warp_face(image, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 64)
    means = image.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(crop - means).max() <= 1


@pytest.mark.parametrize("shrink", [1.3, 2.4, 3.7, 9.0])
def test_warp_face_shrinking_keeps_place_and_sharpness(shrink: float) -> None:
    large = cv2.resize(astronaut(), (1536, 1536), interpolation=cv2.INTER_CUBIC)
    turn = np.array([[0.955, -0.296], [0.296, 0.955]]) / shrink
    matrix = np.column_stack([turn, np.array([96, 96]) - turn @ [680, 360]])
    crop = alignment.warp_face(large, matrix, 192)
    dense = np.column_stack([matrix[:, :2] * 12, matrix[:, 2] * 12 + 5.5])
    truth = cv2.warpAffine(large, dense, (192 * 12, 192 * 12), borderMode=cv2.BORDER_REPLICATE)
    truth = cv2.resize(truth, (192, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(crop.astype(float) - truth).mean() < 2
    assert cv2.Laplacian(crop, cv2.CV_64F).var() > 0.6 * cv2.Laplacian(truth, cv2.CV_64F).var()


def test_warp_face_outside_image_repeats_border() -> None:
    image = np.full((20, 20, 3), 77, np.uint8)
    assert (alignment.warp_face(image, np.array([[1.0, 0, 30], [0, 1, 30]]), 64) == 77).all()


def test_keypoints_from_landmarks_follow_template_order() -> None:
    landmarks = np.zeros((2, 478, 3), np.float32)
    landmarks[:, [33, 160, 158, 133, 153, 144]] = (1, 2, 9)
    landmarks[:, [362, 385, 387, 263, 373, 380]] = (3, 2, 9)
    landmarks[:, 1], landmarks[:, 61], landmarks[:, 291] = (2, 3, 9), (1, 4, 9), (3, 4, 9)
    assert keypoints_from_landmarks(landmarks).tolist() == [[[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]]] * 2
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
