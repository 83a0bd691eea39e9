import numpy as np
import pytest

from facesmith.faces.face_set.config import SelectionConfig
from facesmith.faces.face_set.selection import Candidates, majority_embedding, rejection_kind, select_faces

LIMITS = SelectionConfig(min_score=0.5, min_size=32, min_sharpness=10, max_yaw=45, max_pitch=30, min_similarity=0.4)


def people(*counts: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N,128) of people, so many faces each, and whose each is; .8 alike within a person."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), 128))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    faces = centres[who] + spread / np.sqrt(128) * rng.normal(size=(len(who), 128))
    return (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32), who


def good(embeddings: np.ndarray, pictures: np.ndarray | None = None) -> Candidates:
    n = len(embeddings)
    return Candidates(
        pictures=np.arange(n) if pictures is None else pictures,
        scores=np.full(n, 0.9, np.float32),
        sizes=np.full(n, 100, np.float32),
        sharpness=np.full(n, 200, np.float32),
        pose=np.zeros((n, 3), np.float32),
        embeddings=embeddings,
    )


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("scores", 0.31, "low score (0.31 < 0.5)"),
        ("sizes", 20, "too small (20 < 32 px)"),
        ("sharpness", 2.5, "blurred (sharpness 2.5 < 10)"),
        ("pose", (0, -70, 0), "turned away (yaw -70, at most 45 degrees)"),
        ("pose", (40, 0, 0), "turned away (pitch 40, at most 30 degrees)"),
    ],
)
def test_select_faces_each_limit_has_its_reason(column: str, value: float | tuple[float, ...], expected: str) -> None:
    faces = good(people(5)[0])
    getattr(faces, column)[2] = value
    reasons, _ = select_faces(faces, LIMITS, "one")
    assert reasons == [None, None, expected, None, None]
    assert rejection_kind(expected) == expected.split(" (")[0]


def test_select_faces_roll_is_ignored() -> None:
    faces = good(people(3)[0])
    faces.pose[:, 2] = 90
    assert select_faces(faces, LIMITS, "one")[0] == [None] * 3


@pytest.mark.parametrize("counts", [(30, 12), (12, 30), (10, 4, 5, 3), (3, 2)])
def test_select_faces_majority_is_kept(counts: tuple[int, ...]) -> None:
    embeddings, who = people(*counts)
    reasons, similarity = select_faces(good(embeddings), LIMITS, "one")
    wanted = int(np.argmax(counts))
    assert [reason is None for reason in reasons] == (who == wanted).tolist()
    assert {rejection_kind(reason) for reason in reasons if reason} == {"another person"}
    assert similarity[who == wanted].min() > 0.7


def test_select_faces_group_picture_keeps_the_person() -> None:
    embeddings, who = people(6, 4)
    pictures = np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 3])
    reasons, _ = select_faces(good(embeddings, pictures), LIMITS, "one")
    assert [reason is None for reason in reasons] == (who == 0).tolist()


def test_select_faces_second_likeness_is_rejected() -> None:
    embeddings, _ = people(6)
    reasons, similarity = select_faces(good(embeddings, np.array([0, 1, 2, 3, 4, 4])), LIMITS, "one")
    assert sum(reason is None for reason in reasons) == 5
    dropped = next(i for i, reason in enumerate(reasons) if reason)
    assert rejection_kind(reasons[dropped] or "") == "second likeness"
    assert similarity[dropped] == similarity[4:].min()


def test_majority_embedding_draw_larger_faces_win() -> None:
    embeddings, who = people(8, 8)
    sizes = np.where(who == 1, 120, 80).astype(np.float32)
    centre = majority_embedding(embeddings, sizes, 0.4)
    assert (embeddings[who == 1] @ centre).min() > 0.7


def test_select_faces_people_many_keeps_all() -> None:
    embeddings, _ = people(3, 3, 3)
    faces = good(embeddings, np.zeros(9, int))
    faces.sizes[4] = 5
    reasons, similarity = select_faces(faces, LIMITS, "many")
    assert [i for i, reason in enumerate(reasons) if reason] == [4]
    assert np.isnan(similarity).all()


def test_select_faces_all_flawed_keeps_none() -> None:
    faces = good(people(3)[0])
    faces.scores[:] = 0.1
    assert {rejection_kind(reason or "") for reason in select_faces(faces, LIMITS, "one")[0]} == {"low score"}
