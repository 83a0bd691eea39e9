"""Weigh the embeddings of one person's photos, and aggregate them to one."""

import logging
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

_LARGE = 256.0  # px: larger faces get no more weight
FEWEST: Final = 3
MOST: Final = 20


def warn_photo_count(count: int, setting: str) -> None:
    """Warn when a person has fewer or more photos than are useful.

    Args:
        count: Number of photos with a face.
        setting: Key that named them.
    """
    if count < FEWEST:
        log.warning("%s: %d photos with a face are few; give %d to %d of one person", setting, count, FEWEST, MOST)
    elif count > MOST:
        log.warning("%s: %d photos are more than needed; %d good ones are enough", setting, count, MOST)


def mean_similarity(embeddings: Floats) -> Floats:
    """Return the mean similarity (N,), 0..1, of each L2-normalised embedding (N,E) to the others."""
    if len(embeddings) < 2:
        return np.ones(len(embeddings), np.float32)
    others = ((embeddings @ embeddings.T).sum(1) - 1) / (len(embeddings) - 1)
    return np.asarray(np.clip(others, 0, 1), np.float32)


def face_weights(scores: Floats, sharpness: Floats, sizes: Floats, similarity: Floats) -> Floats:
    """Return the weight of each face.

    Args:
        scores: Of detection, (N,) 0..1.
        sharpness: (N,), of which the rank counts.
        sizes: (N,) px.
        similarity: To the other faces, (N,) 0..1, see `mean_similarity`.

    Returns:
        (N,), not normalised.
    """
    rank = (1 + np.argsort(np.argsort(sharpness))) / len(sharpness)
    return np.asarray(scores * rank * np.minimum(sizes, _LARGE) / _LARGE * np.maximum(similarity, 0.05), np.float32)


def aggregate_embeddings(
    embeddings: Floats, weights: Floats, method: Literal["weighted_mean", "mean", "median"]
) -> Floats:
    """Aggregate embeddings of one person.

    Args:
        embeddings: (N,E), L2-normalised.
        weights: (N,), for the weighted mean.
        method: How.

    Returns:
        (E,), L2-normalised.
    """
    if method == "median":
        total = np.median(embeddings, axis=0)
    else:
        total = np.average(embeddings, axis=0, weights=weights if method == "weighted_mean" else None)
    return np.asarray(total / np.linalg.norm(total), np.float32)
