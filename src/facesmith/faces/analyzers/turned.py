"""Faces that are turned or cut: detectors miss them, or find them with eyes and mouth exchanged."""

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np

from facesmith.faces.face import Detection, Floats, Pixels
from facesmith.faces.geometry.alignment import (
    Matrix,
    estimate_alignment,
    invert_transform,
    transform_points,
    transform_scale,
)

Detect = Callable[[Pixels, int], list[Detection]]
"""Finds faces in a picture (H, W, 3) RGB shrunk to a longest side in px."""

# Detections of faces upside down score up to .91, as if they were upright; upright faces .85 to .95.
CERTAIN: Final = 0.92
# In a crop of this side and reach the right turn scored highest for all of 199 upright faces (by .023 to .4), 146
# upside down, and 145 of 146 on their sides. Without upright eyes in the crop 4 of 120 tilted ones were taken wrongly.
_SIDE: Final = 128  # px
_REACH: Final = 2.6  # sizes of the detection
_LEAST: Final = 0.03  # of the score, by which another turn must be better
_BORDER: Final = 0.1  # sizes of the detection; the border's line so near may look like a face on its side
_TURNS: Final = (0, 2, 1, 3)  # quarter turns against the clock
_MARGIN: Final = 0.2  # of the longest side
_GREY: Final = (127, 127, 127)
# Distance of two detections' middles, in sides of the crop, up to which they are of one face.
_NEAR: Final = 0.25


def turn_upright(frame: Pixels, detection: Detection, detect: Detect, min_score: float) -> Detection | None:
    """Return a detection with its keypoints as the face is turned.

    The face is looked for again in a small crop, in all four quarter turns; the best score tells which way is up.

    Args:
        frame: (H, W, 3) RGB.
        detection: As the detector sees it, taking the face for upright.
        detect: The detector.
        min_score: Below it, 0..1, what was detected is no face after all.

    Returns:
        The detection itself where the face is upright or cannot be told; None where no turn shows a face.
    """
    if detection.score >= CERTAIN:
        return detection
    matrix = _crop_matrix(detection)
    crop = cv2.warpAffine(frame, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    scores: dict[int, Detection] = {}
    for turn in _TURNS[:2] if _is_cut(frame, detection) else _TURNS:
        for found in detect(np.ascontiguousarray(np.rot90(crop, turn), np.uint8), _SIDE):
            middle = (found.box[:2] + found.box[2:]) / 2
            near = np.abs(middle - _SIDE / 2).max() <= _NEAR * _SIDE
            if near and (turn not in scores or found.score > scores[turn].score):
                scores[turn] = found
    if not scores:
        return detection
    turn = max(scores, key=lambda each: scores[each].score)
    upright = scores[0].score if 0 in scores else 0.0
    if turn == 0 or scores[turn].score < upright + _LEAST:
        return detection
    if scores[turn].score < min_score:
        return None
    return _out_of_crop(turn_back(scores[turn], turn, _SIDE, _SIDE), matrix)


def find_cut(frame: Pixels, size: int, detect: Detect) -> list[Detection]:
    """Find faces of which the border cuts more than half off: with grey around it they are found.

    Args:
        frame: (H, W, 3) RGB.
        size: Longest side in px at which they are looked for.
        detect: The detector.

    Returns:
        The faces, px of the frame.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, size / max(height, width))
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
    margin = round(_MARGIN * max(small.shape[:2]))
    framed = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=_GREY)
    return [
        Detection(
            box=np.asarray((one.box - margin) / scale, np.float32),
            keypoints=np.asarray((one.keypoints - margin) / scale, np.float32),
            score=one.score,
        )
        for one in detect(np.asarray(framed, np.uint8), max(framed.shape[:2]))
    ]


def find_turned(frame: Pixels, size: int, detect: Detect) -> list[Detection]:
    """Find faces in a frame that is turned on its sides and upside down.

    Args:
        frame: (H, W, 3) RGB.
        size: Longest side in px at which they are looked for.
        detect: The detector.

    Returns:
        Those of the turn that shows the best one, px of the frame.
    """
    height, width = frame.shape[:2]
    best: list[Detection] = []
    for turn in _TURNS[1:]:
        turned = np.ascontiguousarray(np.rot90(frame, turn))
        found = [turn_back(one, turn, height, width) for one in detect(turned, size)]
        if found and (not best or _highest(found) > _highest(best)):
            best = found
    return best


def turn_back(detection: Detection, turn: int, height: int, width: int) -> Detection:
    """Return a detection of a turned picture in px of the picture before.

    Args:
        detection: In the picture that `np.rot90` gave.
        turn: By how many quarter turns.
        height: Of the picture before, px.
        width: Of the picture before, px.
    """
    corners = _back(detection.box.reshape(2, 2), turn, height, width)
    return Detection(
        box=np.concatenate([corners.min(0), corners.max(0)]).astype(np.float32),
        keypoints=_back(detection.keypoints, turn, height, width).astype(np.float32),
        score=detection.score,
    )


def _back(points: Floats, turn: int, height: int, width: int) -> Floats:
    x, y = points[:, 0], points[:, 1]
    if turn == 1:
        return np.stack([width - 1 - y, x], 1)
    if turn == 2:
        return np.stack([width - 1 - x, height - 1 - y], 1)
    return np.stack([y, height - 1 - x], 1) if turn == 3 else points


def is_on_side(detection: Detection, other: Detection) -> bool:
    """Return whether two detections of a face differ by a quarter turn, more or less."""
    a, b = (one.keypoints[1] - one.keypoints[0] for one in (detection, other))
    return bool(abs(float(a @ b)) < 0.7 * float(np.linalg.norm(a) * np.linalg.norm(b)))


def _is_cut(frame: Pixels, detection: Detection) -> bool:
    height, width = frame.shape[:2]
    left, top, right, bottom = detection.box
    return bool(min(left, top, width - right, height - bottom) < _BORDER * detection.size)


def _crop_matrix(detection: Detection) -> Matrix:
    """Return the matrix from the frame to a crop in which the eyes are level, if the detection is right."""
    fit = estimate_alignment(detection.keypoints, "ffhq_512", 1)
    rotation = fit[:, :2] / transform_scale(fit) * (_SIDE / (_REACH * max(detection.size, 1.0)))
    middle = (detection.box[:2] + detection.box[2:]) / 2
    return np.column_stack([rotation, (_SIDE - 1) / 2 - rotation @ middle])


def _out_of_crop(found: Detection, matrix: Matrix) -> Detection:
    """Return a detection in a crop as one in the frame; its box keeps its sides, and is not turned."""
    back, scale = invert_transform(matrix), transform_scale(matrix)
    middle = transform_points((found.box[:2] + found.box[2:])[None] / 2, back)[0]
    half = (found.box[2:] - found.box[:2]) / (2 * scale)
    return Detection(
        box=np.concatenate([middle - half, middle + half]).astype(np.float32),
        keypoints=transform_points(found.keypoints, back).astype(np.float32),
        score=found.score,
    )


def _highest(detections: Sequence[Detection]) -> float:
    return max(one.score for one in detections)
