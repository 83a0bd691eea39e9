"""The occluder that ships with the package, on a portrait it was not trained on."""

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith import assets
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.masks import outline_mask
from facesmith.models.onnx.occlusion import GENERAL, Occluder

SIDE = 256


@pytest.fixture(scope="module")
def occluder() -> Occluder:
    return Occluder(Path(GENERAL))


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    """Return the aligned crop (256,256,3) and its landmarks (478,3)."""
    picture = astronaut()
    with closing(MediaPipeAnalyzer(detector_sizes=[256], min_score=0.6)) as analyzer:
        (found,) = analyzer(picture)
    matrix = estimate_alignment(found.keypoints, "arcface_128", SIDE)
    return warp_face(picture, matrix, SIDE), transform_points(found.landmarks, matrix)


def below_brows(landmarks: np.ndarray) -> np.ndarray:
    return (outline_mask(landmarks, SIDE) > 0.5) & (np.arange(SIDE)[:, None] > landmarks[topology.BROWS, 1].max())


def test_general_occluder_sees_all_of_a_stranger(occluder: Occluder, face: tuple[np.ndarray, np.ndarray]) -> None:
    crop, landmarks = face
    assert occluder.takes_landmarks
    inner = below_brows(landmarks)
    fed = occluder(crop[None], SIDE, landmarks[None])[0]
    assert (fed[inner] > 0).mean() > 0.95
    assert fed[:20].max() == 0  # the picture's top is hair and background
    alone = occluder(crop[None], SIDE)[0]
    assert (alone[inner] > 0).mean() > 0.95


def test_general_occluder_excludes_what_is_before_the_mouth(
    occluder: Occluder, face: tuple[np.ndarray, np.ndarray]
) -> None:
    crop, landmarks = face
    covered = crop.copy()
    x, y = landmarks[topology.MOUTH, :2].mean(0).astype(int)
    covered[y - 22 : y + 26, x - 34 : x + 34] = (40, 90, 200)
    visible = occluder(covered[None], SIDE, landmarks[None])[0] > 0
    assert visible[y - 16 : y + 20, x - 28 : x + 28].mean() < 0.1
    rest = below_brows(landmarks)
    rest[y - 30 : y + 34, x - 42 : x + 42] = False
    assert visible[rest].mean() > 0.9


def test_general_occluder_face_fully_covered_is_hidden(occluder: Occluder, face: tuple[np.ndarray, np.ndarray]) -> None:
    crop, landmarks = face
    pattern = np.random.default_rng(0).integers(60, 200, (32, 32, 3), np.uint8)
    cloth = np.tile(pattern, (SIDE // 32, SIDE // 32, 1))
    board = crop.copy()
    board[40:, 30:226] = (30, 90, 160)
    masks = occluder(np.stack([cloth, board]), SIDE, np.stack([landmarks, landmarks]))
    assert masks[:, outline_mask(landmarks, SIDE) > 0.5].max() == 0


def test_general_occluder_landmarks_far_off_hide_nothing(
    occluder: Occluder, face: tuple[np.ndarray, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    crop, landmarks = face
    far = landmarks + np.float32([400, 0, 0])
    with caplog.at_level(logging.WARNING, logger="facesmith"):
        masks = occluder(np.stack([crop, crop]), 64, np.stack([far, landmarks]))
    assert masks[0].min() == 1
    assert masks[1].min() == 0
    assert "landmarks lie outside of its crop" in caplog.text


def test_general_occluder_crop_without_face_hides_nothing(occluder: Occluder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, SIDE, SIDE, 3), np.uint8)
    assert occluder(noise, 64).min() == 1


def test_general_occluder_files_are_small() -> None:
    sizes = [assets.fetch(f"occluder_general.{suffix}").stat().st_size for suffix in ("onnx", "ckpt")]
    assert sum(sizes) < 8e6
