"""Figures measured on faces: distances, overlap, sharpness, jitter."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology

Floats = NDArray[np.float32]

IRIS_CENTRES: Final = (468, 473)
"""The two pupils among the 478 landmarks."""

DUPLICATE_IOU: Final = 0.4
"""Two faces cannot share this much of the boxes around their landmarks: they are one, detected twice."""


def eye_distance(landmarks: Floats) -> Floats:
    """Return the distance between the outer corners of the eyes in the picture.

    Args:
        landmarks: (..., 478, 2 or 3) px.

    Returns:
        (...) px. It shrinks as the head turns; `iris_distance` does not.
    """
    left, right = (landmarks[..., i, :2] for i in (topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER))
    return np.asarray(np.linalg.norm(left - right, axis=-1), np.float32)


def iris_distance(landmarks: Floats) -> Floats:
    """Return the distance between the pupils in space, which does not shrink as the head turns.

    Args:
        landmarks: (..., 478, 3) px.

    Returns:
        (...) px.
    """
    left, right = (landmarks[..., i, :] for i in IRIS_CENTRES)
    return np.asarray(np.linalg.norm(left - right, axis=-1), np.float32)


def box_area(box: Floats) -> float:
    """Return the area of a box (left, top, right, bottom); 0 where it is turned inside out."""
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def landmark_iou(a: Floats, b: Floats) -> float:
    """Return the intersection over union, 0..1, of the boxes around two faces' landmarks (478, 2 or 3)."""
    box_a, box_b = (np.concatenate([each[:, :2].min(0), each[:, :2].max(0)]) for each in (a, b))
    both = box_area(np.concatenate([np.maximum(box_a[:2], box_b[:2]), np.minimum(box_a[2:], box_b[2:])]))
    return both / (box_area(box_a) + box_area(box_b) - both)


def laplacian_variance(grey: NDArray[np.uint8], inside: NDArray[np.bool_] | None = None) -> float:
    """Measure sharpness: the variance of the Laplacian.

    Args:
        grey: (H, W) grey levels.
        inside: (H, W), the pixels that count; None: all.

    Returns:
        The variance, in grey levels squared; 0 when nothing is inside.
    """
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    if inside is not None:
        edges = edges[inside]
    return float(edges.var()) if edges.size else 0.0


def face_sharpness(crop: NDArray[np.uint8], magnification: float) -> float:
    """Measure the sharpness of the middle of an aligned face at its own resolution.

    Args:
        crop: (S, S, 3) RGB, on the template of face sets.
        magnification: how many px of the crop one px of the source became. An enlarged crop is first brought back to
            its size, or every small face would look blurred.

    Returns:
        The variance of the Laplacian, see `laplacian_variance`.
    """
    s = len(crop)
    middle = cv2.cvtColor(crop[int(0.35 * s) : int(0.85 * s), s // 4 : 3 * s // 4], cv2.COLOR_RGB2GRAY)
    if magnification > 1:
        size = max(8, round(len(middle) / magnification))
        middle = cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA)
    return laplacian_variance(np.asarray(middle, np.uint8))


def jitter(times: NDArray[np.float64], landmarks: Floats) -> Floats:
    """Measure how much the landmarks of one face tremble at each moment.

    It is the mean distance of the landmarks from the straight line between where they were before and where they are
    after, in eye distances: half the second difference where steps in time are even. Steady motion has none. Frames
    sampled sparsely give large values that are motion, not jitter.

    Args:
        times: (N,) seconds, ascending.
        landmarks: (N, 478, 2 or 3) px; NaN where there was no face.

    Returns:
        (N,) eye distances; NaN at both ends and beside moments without a face.
    """
    result = np.full(len(landmarks), np.nan, np.float32)
    if len(landmarks) > 2:
        points = landmarks[..., :2].astype(np.float64)
        share = ((times[1:-1] - times[:-2]) / (times[2:] - times[:-2]))[:, None, None]
        line = points[:-2] * (1 - share) + points[2:] * share
        distance = np.linalg.norm(points[1:-1] - line, axis=-1).mean(-1)
        result[1:-1] = distance / np.maximum(eye_distance(landmarks[1:-1]), 1e-6)
    return result


def mean_jitter(times: NDArray[np.float64], landmarks: Floats, tracks: NDArray[np.int32]) -> float | None:
    """Average `jitter` over all moments of several tracks.

    Args:
        times: (N,) seconds, ascending within a track; NaN for stills, whose tracks have one face.
        landmarks: (N, 478, 2 or 3) px.
        tracks: (N,) number of the track.

    Returns:
        Eye distances; None where no track has three faces.
    """
    found = np.concatenate([[], *(jitter(times[tracks == one], landmarks[tracks == one]) for one in np.unique(tracks))])
    return None if np.isnan(found).all() else float(np.nanmean(found))
