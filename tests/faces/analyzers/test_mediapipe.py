"""The default analyzer on real faces."""

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import thread
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.faces.analyzers import landmarker
from facesmith.faces.analyzers.landmarker import Landmarker
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.analyzers.yunet import YuNet
from facesmith.faces.face import Face
from facesmith.faces.geometry import alignment

Asset = Callable[[str], Path]


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def analyzer() -> Iterator[MediaPipeAnalyzer]:
    made = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    yield made
    made.close()


@pytest.fixture(scope="module")
def carphone(asset: Asset, analyzer: MediaPipeAnalyzer) -> list[tuple[np.ndarray, list[Face]]]:
    return [(frame, analyzer(frame)) for frame in frames_of(asset("carphone_pristine.mp4"))]


@pytest.fixture(scope="module")
def group(asset: Asset) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(asset("t1.jpg"))), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def group_faces(group: np.ndarray, analyzer: MediaPipeAnalyzer) -> list[Face]:
    return analyzer(group)


@pytest.fixture(scope="module")
def portrait(analyzer: MediaPipeAnalyzer) -> Face:
    (face,) = analyzer(astronaut())
    return face


def test_mediapipe_small_video_finds_face_in_nearly_all_frames(carphone: list[tuple[np.ndarray, list[Face]]]) -> None:
    assert sum(len(faces) == 1 for _, faces in carphone) >= 118
    # He tilts his head by 30 degrees, and is not taken for one on his side.
    assert max(abs(float(faces[0].pose[2])) for _, faces in carphone if faces) < 45
    embeddings = np.stack([faces[0].embedding for _, faces in carphone if faces])
    assert (embeddings @ embeddings.T).min() > 0.4


def test_mediapipe_group_gives_six_different_people(group_faces: list[Face]) -> None:
    assert len(group_faces) == 6
    embeddings = np.stack([face.embedding for face in group_faces])
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert (embeddings @ embeddings.T - np.eye(6)).max() < 0.4
    areas = [np.prod(face.box[2:] - face.box[:2]) for face in group_faces]
    assert areas == sorted(areas, reverse=True)


def test_mediapipe_embeddings_separate_people(
    carphone: list[tuple[np.ndarray, list[Face]]], group_faces: list[Face], portrait: Face
) -> None:
    own = np.stack([faces[0].embedding for _, faces in carphone if faces])
    others = np.stack([face.embedding for face in (*group_faces, portrait)])
    assert (own @ own.T).min() > (own @ others.T).max() + 0.2


def test_mediapipe_portrait_face_has_all_fields(portrait: Face) -> None:
    assert portrait.landmarks.shape == (478, 3)
    assert portrait.blendshapes.shape == (52,)
    assert portrait.embedding.shape == (128,)
    assert {a.dtype for a in (portrait.landmarks, portrait.blendshapes, portrait.pose, portrait.box)} == {
        np.dtype(np.float32)
    }
    assert 0.7 < portrait.score <= 1
    left, right, nose, left_mouth, right_mouth = portrait.keypoints
    assert portrait.box[0] < left[0] < nose[0] < right[0] < portrait.box[2]
    assert portrait.box[1] < left[1] < nose[1] < left_mouth[1] < portrait.box[3]
    assert left_mouth[0] < right_mouth[0]
    # She smiles with open eyes.
    assert portrait.blendshapes[[44, 45]].min() > 0.5
    assert portrait.blendshapes[[9, 10]].max() < 0.4


def test_mediapipe_pose_follows_head(portrait: Face, group_faces: list[Face], analyzer: MediaPipeAnalyzer) -> None:
    (flipped,) = analyzer(np.ascontiguousarray(astronaut()[:, ::-1]))
    np.testing.assert_allclose(flipped.pose, portrait.pose * [1, -1, -1], atol=3)
    turned = cv2.warpAffine(astronaut(), cv2.getRotationMatrix2D((224, 120), -35, 1), (512, 512))
    (clockwise,) = analyzer(turned)
    np.testing.assert_allclose(clockwise.pose - portrait.pose, [0, 0, 35], atol=4)
    # The standing man at the right looks down his left, towards the picture's left edge.
    standing = min(group_faces, key=lambda face: face.box[1])
    assert standing.pose[1] < -30


@pytest.mark.parametrize("height", [64, 40, 32])
def test_mediapipe_small_face_in_720p_is_placed(analyzer: MediaPipeAnalyzer, portrait: Face, height: int) -> None:
    scale = height / float(portrait.box[3] - portrait.box[1])
    small = cv2.resize(astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame = np.full((720, 1280, 3), 90, np.uint8)
    frame[200 : 200 + len(small), 500 : 500 + small.shape[1]] = small
    (face,) = analyzer(frame)
    expected = (portrait.landmarks[:, :2] + 0.5) * scale - 0.5 + (500, 200)
    error = np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean()
    assert error < 0.06 * height


def test_mediapipe_face_filling_large_picture_is_found(analyzer: MediaPipeAnalyzer) -> None:
    large = cv2.resize(astronaut()[60:190, 165:290], None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC)
    assert len(analyzer(large[200:-200, 200:-200].copy())) == 1


def test_mediapipe_picture_without_face_gives_none(analyzer: MediaPipeAnalyzer) -> None:
    rng = np.random.default_rng(0)
    assert analyzer(np.zeros((240, 320, 3), np.uint8)) == []
    assert analyzer(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)) == []
    assert analyzer(np.full((5, 7, 3), 128, np.uint8)) == []


def test_mediapipe_duplicate_detection_is_dropped(analyzer: MediaPipeAnalyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    (once,) = analyzer._detector(astronaut(), 640)
    again = type(once)(box=once.box + 6, keypoints=once.keypoints + 3, score=once.score - 0.1)
    monkeypatch.setattr(analyzer, "_detector", lambda frame, size: [again, once])
    before = analyzer.dropped
    (face,) = analyzer(astronaut())
    assert face.score == once.score
    assert analyzer.dropped == before + 1


@pytest.mark.parametrize(("template", "size"), [("arcface_128", 128), ("ffhq_512", 512)])
def test_mediapipe_find_landmarks_in_aligned_crops_matches_frame(
    carphone: list[tuple[np.ndarray, list[Face]]], analyzer: MediaPipeAnalyzer, template: str, size: int
) -> None:
    sample = carphone[::12]
    matrices = [alignment.estimate_alignment(faces[0].keypoints, template, size) for _, faces in sample]
    crops = [alignment.warp_face(frame, matrix, size) for (frame, _), matrix in zip(sample, matrices, strict=True)]
    found = analyzer.find_landmarks([*crops, np.zeros((size, size, 3), np.uint8)])
    assert found[-1] is None
    for answer, (_, faces), matrix in zip(found, sample, matrices, strict=False):
        assert answer is not None
        expected = alignment.transform_points(faces[0].landmarks, matrix)
        eyes = np.linalg.norm(expected[33, :2] - expected[263, :2])
        assert np.linalg.norm(answer[0][:, :2] - expected[:, :2], axis=1).mean() < 0.03 * eyes
        assert answer[1].shape == (52,)


def test_mediapipe_embed_aligned_equals_frame_embedding(portrait: Face, analyzer: MediaPipeAnalyzer) -> None:
    crop = alignment.warp_face(
        astronaut(), alignment.estimate_alignment(portrait.keypoints, "arcface_112_v2", 112), 112
    )
    np.testing.assert_allclose(analyzer.embed_aligned(crop[None])[0], portrait.embedding, atol=1e-4)
    assert analyzer.embed_aligned(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 128)


def test_yunet_group_equals_opencv(asset: Asset, group: np.ndarray) -> None:
    ours = YuNet(asset("yunet.onnx"), min_score=0.7)(group, 1280)
    height, width = group.shape[:2]
    theirs = cv2.FaceDetectorYN.create(str(asset("yunet.onnx")), "", (width, height), 0.7, 0.3)
    rows = theirs.detect(cv2.cvtColor(group, cv2.COLOR_RGB2BGR))[1]
    rows = rows[np.argsort(-rows[:, 14])]
    np.testing.assert_allclose([each.score for each in ours], rows[:, 14], atol=1e-3)
    np.testing.assert_allclose([each.keypoints.ravel() for each in ours], rows[:, 4:14], atol=0.1)
    np.testing.assert_allclose([(*d.box[:2], *(d.box[2:] - d.box[:2])) for d in ours], rows[:, :4], atol=0.1)


def test_mediapipe_fingerprint_depends_on_settings(analyzer: MediaPipeAnalyzer) -> None:
    stricter = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.8)
    same = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    stricter.close()
    same.close()
    assert analyzer.fingerprint == same.fingerprint != stricter.fingerprint
    assert (analyzer.embedder, analyzer.embedding_size) == ("sface", 128)


def test_mediapipe_start_prints_nothing() -> None:
    program = """
import skimage.data
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
analyzer = MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)
print(len(analyzer(skimage.data.astronaut())))
analyzer.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert done.stderr == ""


def test_landmarker_left_to_the_garbage_while_a_pool_takes_work_blocks_nobody(asset: Asset) -> None:
    model = asset("face_landmarker.task")
    done = threading.Event()

    def forget_one() -> None:
        left = Landmarker(model)
        with thread._global_shutdown_lock:  # as in `submit`, which may collect garbage
            del left
            gc.collect()
        done.set()

    threading.Thread(target=forget_one, daemon=True).start()
    assert done.wait(60)
    Landmarker(model).close()  # closes both
    assert landmarker._ABANDONED.empty()
