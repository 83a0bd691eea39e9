"""Metrics of generated videos: heads between detections, likeness, flicker."""

from typing import Any

import numpy as np
import pytest
import torch

from facesmith.faces.face import Detection
from facesmith.methods.video_lora import evaluation
from facesmith.methods.video_lora.evaluation import FaceEvaluator, flicker
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings


class Face:
    """A face with an embedding and a box alone."""

    def __init__(self, embedding: list[float], box: list[float]) -> None:
        self.embedding, self.box = np.array(embedding, np.float32), np.array(box, np.float32)


class FakeAnalyzer:
    """Finds a stranger's large face and, as far to the right as the frame is bright, the person's; none in black."""

    closed = 0

    def detect(self, frame: np.ndarray) -> list[Detection]:
        return [Detection(face.box, np.zeros((5, 2), np.float32), 0.9) for face in self(frame)]

    def __call__(self, frame: np.ndarray) -> list[Any]:
        left = float(frame[0, 0, 0])
        return [Face([1, 0], [50, 0, 99, 99]), Face([0.6, 0.8], [left, 0, left + 20, 20])] if left else []

    def close(self) -> None:
        self.closed += 1


PERSON = FaceEmbeddings(torch.zeros(1, 2), torch.ones(1), torch.zeros(4, 4, 3), "e", np.array([0.0, 1.0], np.float32))


def film(levels: list[int]) -> np.ndarray:
    return np.stack([np.full((100, 100, 3), level, np.uint8) for level in levels])


def test_face_evaluator_find_heads_of_the_person_interpolated_between_detections() -> None:
    evaluator = FaceEvaluator(analyzer=FakeAnalyzer, every=2)  # type: ignore[arg-type]
    frames = film([10, 11, 12, 13, 20, 21, 0, 0, 0, 0])
    boxes = evaluator.find_heads(frames, frames, PERSON)
    assert boxes[:5, 0].tolist() == [10, 11, 12, 16, 20]  # 13 is not looked at
    assert boxes[:5, 2].tolist() == [30, 31, 32, 36, 40]
    assert np.isnan(boxes[6:]).all()


def test_face_evaluator_evaluate_takes_the_likest_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_find_landmarks", lambda frames: [np.ones((33, 3), np.float32)] * len(frames))
    analyzer = FakeAnalyzer()
    evaluator = FaceEvaluator(analyzer=lambda: analyzer, every=1)  # type: ignore[arg-type,return-value]
    frames = film([10, 10, 0, 10])
    metrics = evaluator.evaluate(frames, frames, frames, PERSON)
    assert metrics == {"likeness": pytest.approx(0.8), "faces_found": 0.75, "pose_agreement": 1.0}
    evaluator.close()
    evaluator.close()
    assert analyzer.closed == 1


def test_flicker_is_zero_for_even_motion() -> None:
    assert flicker(film([10, 20, 30, 40])) == 0
    assert flicker(film([10, 20, 10, 20])) == 20
    assert flicker(film([10, 20])) == 0
