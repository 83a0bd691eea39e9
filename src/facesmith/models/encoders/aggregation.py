"""Many embeddings of a face into one."""

import logging
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

_LARGE = 256.0  # px: a larger face tells no more
FEWEST: Final = 3
MOST: Final = 20


def tell_count(count: int, setting: str) -> None:
    """Say when there are fewer or more photos of a person than serve. setting: what named them."""
    if count < FEWEST:
        log.warning("%s: %d photos with a face are few; give %d to %d of one person", setting, count, FEWEST, MOST)
    elif count > MOST:
        log.warning("%s: %d photos are more than serve; %d good ones are enough", setting, count, MOST)


def agreement(embeddings: Floats) -> Floats:
    """Give (N,): the mean similarity of each L2-normalised embedding (N,E) to the others, 0..1."""
    if len(embeddings) < 2:
        return np.ones(len(embeddings), np.float32)
    others = ((embeddings @ embeddings.T).sum(1) - 1) / (len(embeddings) - 1)
    return np.asarray(np.clip(others, 0, 1), np.float32)


def face_weights(scores: Floats, sharpness: Floats, sizes: Floats, agree: Floats) -> Floats:
    """Give (N,): how much each face counts, by detection score, rank of sharpness, size in px and agreement."""
    rank = (1 + np.argsort(np.argsort(sharpness))) / len(sharpness)
    return np.asarray(scores * rank * np.minimum(sizes, _LARGE) / _LARGE * np.maximum(agree, 0.05), np.float32)


def aggregated(embeddings: Floats, weights: Floats, method: Literal["weighted_mean", "mean", "median"]) -> Floats:
    """Give one embedding (E,), L2-normalised, of (N,E)."""
    if method == "median":
        total = np.median(embeddings, axis=0)
    else:
        total = np.average(embeddings, axis=0, weights=weights if method == "weighted_mean" else None)
    return np.asarray(total / np.linalg.norm(total), np.float32)
