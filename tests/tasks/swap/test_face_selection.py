from dataclasses import replace

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import write_image
from facesmith.tasks.swap.face_selection import Claim, FaceSelector, count_turned, reference_embedding, threshold_for

ADA = np.array([1, 0, 0, 0], np.float32)
BEN = np.array([0, 1, 0, 0], np.float32)


def face(left: float, side: float, angle: float = np.nan) -> Face:
    embedding = np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)
    box = np.array([left, 0, left + side, side], np.float32)
    points = np.zeros((478, 3), np.float32)
    return Face(box, 0.9, points, np.zeros(52, np.float32), np.zeros(3, np.float32), embedding)


def select(choice: FaceSelector, faces: dict[int, Face]) -> dict[int, int]:
    """Return the entry of each track that is selected."""
    numbers = {id(one): track for track, one in faces.items()}
    return {numbers[id(one.face)]: one.entry for one in choice(faces)}


def test_face_selector_largest_and_all():
    faces = {0: face(50, 10), 1: face(0, 30), 2: face(100, 20)}
    assert [one.face for one in FaceSelector([Claim("largest")])(faces)] == [faces[1]]
    assert [one.face for one in FaceSelector([Claim("all")])(faces)] == [faces[1], faces[2], faces[0]]
    assert FaceSelector([Claim("largest")])({}) == []


def test_face_selector_largest_does_not_alternate():
    choice = FaceSelector([Claim("largest")])
    left, right = face(0, 30), face(50, 31)
    assert select(choice, {0: left, 1: face(50, 29)}) == {0: 0}
    assert select(choice, {0: left, 1: right}) == {0: 0}
    assert select(choice, {1: right}) == {1: 0}
    assert select(choice, {0: left, 1: right}) == {1: 0}
    assert select(choice, {0: face(0, 40), 1: right}) == {0: 0}


def test_face_selector_largest_goes_on_where_a_run_was_stopped():
    grown = {3: face(0, 30), 4: face(50, 31)}
    choice = FaceSelector([Claim("largest")])
    assert select(choice, grown) == {4: 0}
    choice.hold_largest(grown, [0.0, 0.0, 30.0, 30.0])
    assert select(choice, grown) == {3: 0}


def test_face_selector_person_is_the_most_similar():
    near, nearer, far, unknown = face(0, 9, 0.6), face(0, 5, 0.3), face(0, 99, 1.4), face(0, 20)
    assert select(FaceSelector([Claim(ADA, 0.5)]), {0: near, 1: nearer, 2: far, 3: unknown}) == {1: 0}
    assert select(FaceSelector([Claim(ADA, 0.5)]), {2: far, 3: unknown}) == {}


def test_face_selector_place_is_counted_once_then_recognised():
    choice = FaceSelector([Claim(1, 0.5)])
    assert select(choice, {0: face(0, 20, 0.0)}) == {}
    assert choice.undecided
    assert select(choice, {0: face(0, 20, 0.0), 1: face(50, 20, 1.5)}) == {1: 0}
    crossed = {0: face(90, 20, 0.0), 7: face(50, 20, 1.4)}
    assert select(choice, crossed) == {7: 0}
    assert select(choice, {0: face(0, 20, 0.0)}) == {}


def test_face_selector_cast_each_face_goes_to_one_entry():
    """A stranger who is somewhat like Ada stays with Ben, to whom he is more alike; the others take what is left."""
    claims = [Claim(ADA, 0.3), Claim(BEN, 0.3), Claim("largest"), Claim("all")]
    faces = {0: face(0, 20, 1.2), 1: face(50, 40, 0.2), 2: face(90, 10, 3.1), 3: face(120, 30, 3.1)}
    assert select(FaceSelector(claims), faces) == {1: 0, 0: 1, 3: 2, 2: 3}


def test_face_selector_cast_held_track_keeps_its_model():
    """Two who look equally like either keep what they were."""
    choice = FaceSelector([Claim(ADA, 0.3), Claim(BEN, 0.3)])
    assert select(choice, {0: face(0, 20, 0.1), 1: face(50, 20, 1.4)}) == {0: 0, 1: 1}
    middle = {0: face(0, 20, 0.80), 1: face(50, 20, 0.78)}
    assert select(choice, middle) == {0: 0, 1: 1}
    assert select(FaceSelector([Claim(ADA, 0.3), Claim(BEN, 0.3)]), middle) == {0: 1, 1: 0}


def test_face_selector_place_of_a_person_whom_another_names_raises():
    with pytest.raises(UserError, match="entries 0 and 1 claim one face"):
        FaceSelector([Claim(ADA, 0.5), Claim(0, 0.5)])({0: face(0, 20, 0.1), 1: face(50, 20, 1.5)})


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
