from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.geometry.topology import BLENDSHAPE_MIRROR, LANDMARK_MIRROR
from facesmith.metrics.edges import seam
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures, held_out_ssim
from facesmith.metrics.swap_metrics import PictureMetrics, SwapMetrics


@pytest.fixture(scope="module")
def analyzer() -> Iterator[MediaPipeAnalyzer]:
    made = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.6)
    yield made
    made.close()


@pytest.fixture(scope="module")
def person(carphone_set: FaceSet) -> AlignedFaces:
    return carphone_set.aligned()


@pytest.fixture(scope="module")
def gate(analyzer: MediaPipeAnalyzer, person: AlignedFaces) -> SwapEvaluator:
    return SwapEvaluator(analyzer, HeldOutRecogniser(), person[:-2])


def _masks(faces: AlignedFaces) -> np.ndarray:
    return np.stack([outline_mask(points, faces.size) * 255 for points in faces.landmarks]).astype(np.uint8)


def test_swap_evaluator_unchanged_person_is_accepted(gate: SwapEvaluator, person: AlignedFaces) -> None:
    last = person[-2:]
    masks = _masks(last)
    quality = gate(SwapPictures(last.images, last.images, last.images, last.images, masks, masks))
    assert all(row.accepted for row in quality.pictures)
    figures = quality.figures("val")
    assert figures["val/judge_distance"] < 0.45
    assert figures["val/identity_similarity"] > 0.7
    assert figures["val/nme"] == 0
    assert figures["val/sharpness"] == 1
    assert figures["val/mask_iou"] == 1
    assert 0.4 < figures["val/sharpness_own"] < 2


def test_swap_evaluator_stranger_and_missing_face_are_rejected(
    gate: SwapEvaluator, analyzer: MediaPipeAnalyzer, astronaut: np.ndarray
) -> None:
    crop = astronaut[40:168, 160:288]
    assert analyzer.find_landmarks([crop])[0] is not None
    stranger, grey = crop[None], np.full((1, 128, 128, 3), 127, np.uint8)
    mask = np.full((1, 128, 128), 255, np.uint8)
    before = gate.before(SwapPictures(stranger, stranger, stranger, stranger, mask, mask), ["astronaut"]).pictures[0]
    assert before.name == "astronaut"
    assert "not the person" in before.reason
    gone = gate(SwapPictures(stranger, stranger, grey, grey, mask, mask))
    assert gone.pictures[0].reason == "no face found"
    assert gone.figures("val")["val/miss_rate"] == 1
    assert gone.figures("val")["val/accepted"] == 0


def test_swap_evaluator_spoilt_faces_are_rejected_for_what_is_wrong(gate: SwapEvaluator, person: AlignedFaces) -> None:
    one = person[-1:]
    mask, size = _masks(one), one.size
    face = one.images[0]

    def judge(spoilt: np.ndarray, own_mask: np.ndarray = mask) -> PictureMetrics:
        shown = np.where(own_mask[0, ..., None] > 127, np.clip(spoilt, 0, 255), face).astype(np.uint8)[None]
        return gate(SwapPictures(one.images, one.images, shown, shown, own_mask, mask)).pictures[0]

    assert judge(face).accepted
    assert "blurred" in judge(cv2.GaussianBlur(face, (0, 0), 3)).reason
    assert "another colour" in judge(face + np.array([30, -20, 40])).reason
    assert "another colour" in judge(face * 0.7).reason
    assert "features misplaced" in judge(np.roll(face, 6, axis=1)).reason
    wave = 16 * np.sin(np.arange(size) * 2 * np.pi / 6)[None, :, None]
    assert "stripes on the skin" in judge(face + wave).reason
    figures = SwapMetrics([judge(face), judge(face + wave)]).figures("val")
    assert (figures["val/accepted"], figures["val/passed"], figures["val/rejected_foreign"]) == (0.5, 0, 0.5)


def test_landmark_mirror_agrees_with_detection(analyzer: MediaPipeAnalyzer, person: AlignedFaces) -> None:
    some = person[:6]
    found = analyzer.find_landmarks(list(np.ascontiguousarray(some.images[:, :, ::-1])))
    mirrored = some.mirror()
    errors = [
        np.linalg.norm(seen[0][:, :2] - wanted[:, :2], axis=1).mean()
        for seen, wanted in zip(found, mirrored.landmarks, strict=True)
        if seen is not None
    ]
    assert len(errors) == 6
    assert np.mean(errors) < 1.5
    shuffled = some.landmarks[:, LANDMARK_MIRROR[::-1]]
    assert np.linalg.norm(shuffled - mirrored.landmarks, axis=-1).mean() > 15
    assert (mirrored.blendshapes == some.blendshapes[:, BLENDSHAPE_MIRROR]).all()


def test_held_out_ssim_same_frames_is_one(person: AlignedFaces) -> None:
    frames, masks = person.images[:2], _masks(person[:2])
    assert held_out_ssim(frames, frames, masks) == pytest.approx(1)
    assert held_out_ssim(frames, frames[:, ::-1], masks) < 0.6
    assert np.isnan(held_out_ssim(frames[:0], frames[:0], masks[:0]))


def test_seam_added_edge_is_measured(astronaut: np.ndarray) -> None:
    target = astronaut[40:168, 160:288]
    away = np.hypot(*np.mgrid[-1:1:128j, -1:1:128j])
    mask = ((away < 0.6) * 255).astype(np.uint8)

    def lit(share: np.ndarray, levels: int) -> np.ndarray:
        return np.clip(target * (1 - share[..., None]) + (128 + levels) * share[..., None], 0, 255).astype(np.uint8)

    cut, feathered = (away < 0.6).astype(np.float32), np.clip((0.6 - away) * 4, 0, 1)
    assert seam(target, target, mask) == 0
    assert seam(target, lit(cut, 60), np.zeros_like(mask)) == 0
    assert seam(target, lit(cut, 60), mask) > 1.5 * seam(target, lit(feathered, 60), mask) > 0
    assert seam(target, lit(cut, 120), mask) > seam(target, lit(cut, 60), mask)
