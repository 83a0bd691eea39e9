"""Which pictures of the given media are analysed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def share(lengths: Sequence[int | None], max_frames: int) -> list[list[int]]:
    """Choose up to max_frames pictures, spread evenly over all media.

    lengths: per medium its number of frames, None for a still. Gives per medium the frame numbers,
    ascending ([0] for a chosen still). Stills count one each; videos share what remains by their number of
    frames, but get one frame each at least, so that many stills cannot shut a video out. More stills than
    fit are thinned out evenly.
    """
    stills = [i for i, length in enumerate(lengths) if length is None]
    videos = [i for i, length in enumerate(lengths) if length]
    reserved = min(len(videos), max_frames // 2 if stills else max_frames)
    chosen: list[list[int]] = [[] for _ in lengths]
    for k in spread(len(stills), min(len(stills), max_frames - reserved)):
        chosen[stills[k]] = [0]
    left = max_frames - sum(map(len, chosen))
    frames = [lengths[i] or 0 for i in videos]
    for i, length, count in zip(videos, frames, _apportion(frames, left), strict=True):
        chosen[i] = spread(length, count)
    return chosen


def spread(length: int, count: int) -> list[int]:
    """Return `count` of the numbers below `length`, each from the middle of an equal share, or all of them."""
    if count >= length:
        return list(range(length))
    return [(2 * k + 1) * length // (2 * count) for k in range(count)]


def _apportion(frames: Sequence[int], seats: int) -> list[int]:
    """Divide seats by size, largest remainder first: at least one each while they last, none above size."""
    total = sum(frames)
    if seats >= total:
        return list(frames)
    least = 1 if seats >= len(frames) else 0
    exact = [seats * size / total for size in frames]
    counts = [min(size, max(least, int(e))) for size, e in zip(frames, exact, strict=True)]
    by_need = sorted(range(len(frames)), key=lambda i: counts[i] - exact[i])
    while sum(counts) < seats:
        grown = [i for i in by_need if counts[i] < frames[i]][: seats - sum(counts)]
        for i in grown:
            counts[i] += 1
    while sum(counts) > seats:
        counts[max(range(len(frames)), key=lambda i: counts[i] - exact[i] if counts[i] > least else -1.0)] -= 1
    return counts


NO_FACE = "no face"

# The similarity matrix of more faces than this is taken from an even sample of them.
MOST_COMPARED = 3000


@dataclass(frozen=True)
class Selection:
    """Limits a face must keep to.

    min_score: detection score, 0..1. min_size: shorter side of the face box in px of the source.
    min_sharpness: variance of the Laplacian of the 8-bit grey face at its own resolution. max_yaw,
    max_pitch: degrees away from the camera. min_similarity: cosine of the embedding with the person's mean;
    its scale is the embedder's.
    """

    min_score: float
    min_size: float
    min_sharpness: float
    max_yaw: float
    max_pitch: float
    min_similarity: float


@dataclass(frozen=True)
class Candidates:
    """What selection looks at, one row a detected face.

    pictures: (N,) number of the picture the face is in; scores, sizes, sharpness: (N,); pose: (N,3) degrees
    pitch, yaw, roll; embeddings: (N,E) L2-normalised.
    """

    pictures: NDArray[np.integer]
    scores: NDArray[np.float32]
    sizes: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    pose: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def select(
    faces: Candidates, selection: Selection, people: Literal["one", "many"]
) -> tuple[list[str | None], NDArray[np.float32]]:
    """Judge every face: None where it is kept, else the reason, "<kind> (<figures>)".

    With people="one" the identity that most pictures show is kept and, in each picture, the one face most
    like it; with "many" identity is not looked at, the other limits hold. Gives the reasons (N) and the
    cosine of each face with the kept person's mean (N,) float32, NaN where it was not looked at.
    """
    reasons = [_flaw(faces, i, selection) for i in range(len(faces.scores))]
    similarity = np.full(len(reasons), np.nan, np.float32)
    good = np.array([i for i, reason in enumerate(reasons) if reason is None], np.intp)
    if people == "many" or len(good) == 0:
        return reasons, similarity
    centre = majority(faces.embeddings[good], faces.sizes[good], selection.min_similarity)
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


def kind(reason: str) -> str:
    """Return the kind of a rejection, without its figures: what is counted in reports."""
    return reason.split(" (")[0]


def majority(embeddings: NDArray[np.float32], sizes: NDArray[np.float32], min_similarity: float) -> NDArray[np.float32]:
    """Return the mean embedding (E,), L2-normalised, of the person with most faces.

    Starts at the face with most look-alikes (robust: strangers cannot pull it, unlike a mean), then moves
    to the mean of all faces within min_similarity until that settles. Where two people appear equally
    often, the larger faces win.
    """
    count = min(len(embeddings), MOST_COMPARED)
    sample = np.linspace(0, len(embeddings) - 1, count).astype(np.intp)
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


def _flaw(faces: Candidates, i: int, limits: Selection) -> str | None:
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
