"""Select faces by score, size, sharpness, pose, and one person's identity."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.face_set.config import SelectionConfig
from facesmith.media.sampling import evenly_spaced

NO_FACE = "no face"

# The similarity matrix of more faces than this is taken from an even sample of them.
MOST_COMPARED = 3000


@dataclass(frozen=True)
class Candidates:
    """Measurements of detected faces for selection, one row per face.

    Attributes:
        pictures: (N,) number of the picture the face is in.
        scores: (N,) detection scores, 0..1.
        sizes: (N,) shorter side of the box, px of the source.
        sharpness: (N,) see `measures.face_sharpness`.
        pose: (N, 3) pitch, yaw, roll in degrees.
        embeddings: (N, E), L2-normalised.
    """

    pictures: NDArray[np.integer]
    scores: NDArray[np.float32]
    sizes: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    pose: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def select_faces(
    faces: Candidates, selection: SelectionConfig, people: Literal["one", "many"]
) -> tuple[list[str | None], NDArray[np.float32]]:
    """Decide which faces are kept.

    Args:
        faces: The N faces.
        selection: Limits a face must keep to.
        people: With "one" the identity that most pictures show is kept and, in each picture, the one face most like it;
            with "many" identity is not looked at, the other limits hold.

    Returns:
        For each face None where it is kept, else the reason, "<kind> (<figures>)"; and the cosine of each face with the
        kept person's mean (N,), NaN where it was not computed.
    """
    reasons = [_flaw(faces, i, selection) for i in range(len(faces.scores))]
    similarity = np.full(len(reasons), np.nan, np.float32)
    good = np.array([i for i, reason in enumerate(reasons) if reason is None], np.intp)
    if people == "many" or len(good) == 0:
        return reasons, similarity
    centre = majority_embedding(faces.embeddings[good], faces.sizes[good], selection.min_similarity)
    similarity[good] = faces.embeddings[good] @ centre
    for i in good:
        if similarity[i] < selection.min_similarity:
            reasons[i] = f"another person (similarity {similarity[i]:.2f} < {selection.min_similarity:g})"
    kept = np.array([i for i in good if reasons[i] is None], np.intp)
    best: dict[int, int] = {}
    for i in kept[np.argsort(-similarity[kept], kind="stable")]:
        first = best.setdefault(int(faces.pictures[i]), int(i))
        if first != i:
            reasons[i] = f"second likeness (similarity {similarity[i]:.2f}, beside {similarity[first]:.2f})"
    return reasons, similarity


def rejection_kind(reason: str) -> str:
    """Return the kind of a rejection, without its figures: what is counted in reports."""
    return reason.split(" (")[0]


def majority_embedding(
    embeddings: NDArray[np.float32], sizes: NDArray[np.float32], min_similarity: float
) -> NDArray[np.float32]:
    """Return the mean embedding of the person with most faces.

    Starts at the face with most look-alikes (robust: strangers cannot pull it, unlike a mean), then moves to the mean
    of all faces within min_similarity until that settles. Where two people appear equally often, the larger faces win.

    Args:
        embeddings: (N, E), L2-normalised.
        sizes: (N,) shorter side of the box, px.
        min_similarity: Cosine from which on two faces are one person's.

    Returns:
        (E,), L2-normalised.
    """
    sample = evenly_spaced(len(embeddings), MOST_COMPARED, ends=True)
    votes = 1 + 0.1 * sizes[sample] / sizes[sample].max()
    alike = embeddings[sample] @ embeddings[sample].T
    support = (alike >= min_similarity) @ votes + 1e-3 * alike.mean(1)
    members = alike[int(np.argmax(support))] >= min_similarity
    for _ in range(10):
        centre = embeddings[sample][members].mean(0)
        centre /= np.linalg.norm(centre)
        closer = embeddings[sample] @ centre >= min_similarity
        if np.array_equal(closer, members) or not closer.any():
            break
        members = closer
    return np.asarray(centre, np.float32)


def _flaw(faces: Candidates, i: int, limits: SelectionConfig) -> str | None:
    pitch, yaw = faces.pose[i, 0], faces.pose[i, 1]
    if faces.scores[i] < limits.min_score:
        return f"low score ({faces.scores[i]:.2f} < {limits.min_score:g})"
    if faces.sizes[i] < limits.min_size:
        return f"too small ({faces.sizes[i]:.0f} < {limits.min_size:g} px)"
    if abs(yaw) > limits.max_yaw:
        return f"turned away (yaw {yaw:.0f}, at most {limits.max_yaw:g} degrees)"
    if abs(pitch) > limits.max_pitch:
        return f"turned away (pitch {pitch:.0f}, at most {limits.max_pitch:g} degrees)"
    if faces.sharpness[i] < limits.min_sharpness:
        return f"blurred (sharpness {faces.sharpness[i]:.1f} < {limits.min_sharpness:g})"
    return None
