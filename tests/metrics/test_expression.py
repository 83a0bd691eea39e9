import numpy as np
import pytest

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.media.video import open_video
from facesmith.metrics.expression import expression_error


@pytest.fixture(scope="module")
def smile_and_rest(asset) -> tuple[Face, Face]:
    """The man of single_face.mp4 with a smile that shows his teeth, and with shut lips."""
    analyzer = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.6)
    with open_video(asset("single_face.mp4")) as reader:
        rest, smile = (analyzer(frame)[0] for _, frame in reader.frames([0, 45]))
    analyzer.close()
    return smile, rest


def test_expression_error_same_face_is_none(smile_and_rest: tuple[Face, Face]) -> None:
    smile = smile_and_rest[0]
    same = expression_error(smile.blendshapes, smile.blendshapes, smile.landmarks, smile.landmarks)
    assert (same.all_shapes, same.seven_shapes, same.eyes, same.mouth, same.lips, same.shut) == (0, 0, 0, 0, 0, False)


def test_expression_error_shut_mouth_instead_of_smile_is_measured(smile_and_rest: tuple[Face, Face]) -> None:
    smile, rest = smile_and_rest
    shut = expression_error(rest.blendshapes, smile.blendshapes, rest.landmarks, smile.landmarks)
    assert shut.all_shapes > 0.05
    assert shut.lips < -0.06
    opened = expression_error(smile.blendshapes, rest.blendshapes, smile.landmarks, rest.landmarks)
    assert opened.lips > 0.06


def test_expression_error_shut_eyes_are_told(smile_and_rest: tuple[Face, Face]) -> None:
    rest = smile_and_rest[1]
    shapes = rest.blendshapes.copy()
    shapes[9:11] = 0.9
    shut = expression_error(shapes, np.where(shapes == 0.9, 0.1, shapes), rest.landmarks, rest.landmarks)
    assert shut.shut
    assert shut.eyes == pytest.approx(0.8, abs=0.01)
