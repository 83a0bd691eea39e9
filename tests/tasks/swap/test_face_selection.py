from dataclasses import replace

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import write_image
from facesmith.tasks.swap.face_selection import FaceSelector, count_turned, reference_embedding, threshold_for

ADA = np.array([1, 0, 0, 0], np.float32)


def face(left: float, side: float, angle: float = np.nan) -> Face:
    embedding = np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)
    box = np.array([left, 0, left + side, side], np.float32)
    points = np.zeros((478, 3), np.float32)
    return Face(box, 0.9, points, np.zeros(52, np.float32), np.zeros(3, np.float32), embedding)


def test_face_selector_largest_all_and_from_left():
    faces = {0: face(50, 10), 1: face(0, 30), 2: face(100, 20)}
    assert FaceSelector("largest")(faces) == [faces[1]]
    assert FaceSelector("all")(faces) == [faces[1], faces[2], faces[0]]
    assert [FaceSelector(place)(faces) for place in range(4)] == [[faces[1]], [faces[0]], [faces[2]], []]
    assert FaceSelector("largest")({}) == []


def test_face_selector_largest_does_not_alternate():
    choice = FaceSelector("largest")
    left, right = face(0, 30), face(50, 31)
    assert choice({0: left, 1: face(50, 29)}) == [left]
    assert choice({0: left, 1: right}) == [left]
    assert choice({1: right}) == [right]
    assert choice({0: left, 1: right}) == [right]
    assert choice({0: face(0, 40), 1: right})[0].box[2] == 40


def test_face_selector_reference_takes_most_similar():
    choice = FaceSelector("reference", reference=ADA, threshold=0.5)
    near, nearer, far, unknown = face(0, 9, 0.6), face(0, 5, 0.3), face(0, 99, 1.4), face(0, 20)
    assert choice({0: near, 1: nearer, 2: far, 3: unknown}) == [nearer]
    assert choice({2: far, 3: unknown}) == []


def test_reference_embedding_of_photo_and_profile(tmp_path):
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    write_image(tmp_path / "one.png", astronaut(), mark=None)
    write_image(tmp_path / "two.png", np.concatenate([astronaut(), astronaut()], 1), mark=None)
    write_image(tmp_path / "none.png", np.full((90, 90, 3), 90, np.uint8), mark=None)
    embedding = reference_embedding(tmp_path / "one.png", analyzer)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    for name, said in (("two", "shows 2 faces"), ("none", "shows no face")):
        with pytest.raises(UserError, match=said):
            reference_embedding(tmp_path / f"{name}.png", analyzer)
    facts = {"id": "ada", "num_frames": 1, "consent": "synthetic"}
    profile = IdentityProfile.create(
        embedder="sface", embedding_mean=embedding, embedding_std=np.zeros(128, np.float32), **facts
    )
    profile.save(tmp_path / "ada.json")
    assert reference_embedding(tmp_path / "ada.json", analyzer) == pytest.approx(embedding, abs=1e-6)
    foreign = IdentityProfile.create(
        embedder="arcface_w600k_r50", embedding_mean=np.ones(512), embedding_std=np.zeros(512), **facts
    )
    foreign.save(tmp_path / "other.json")
    with pytest.raises(UserError, match=r"arcface_w600k_r50 \(512\), but sface \(128\) is in use"):
        reference_embedding(tmp_path / "other.json", analyzer)
    analyzer.close()


def test_threshold_for_embedder():
    assert threshold_for(0.4, "sface") == 0.4
    assert threshold_for({"sface": 0.36}, "sface") == 0.36
    with pytest.raises(UserError, match="no value for embedder dlib"):
        threshold_for({"sface": 0.36}, "dlib")


def test_count_turned_counts_heads_seen_from_the_side_whichever_way_they_turn():
    poses = [(0, 0, 0), (40, 0, 50), (0, 50, 0), (5, -50, 5)]
    assert count_turned([replace(face(0, 9), pose=np.array(pose, np.float32)) for pose in poses]) == 2
