"""Drawings of poses: OpenPose's 18 points as VACE was trained on them, as DWPose draws them, or plain limbs."""

import colorsys
from collections.abc import Sequence
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Points = NDArray[np.float32]
PoseStyle = Literal["openpose", "dwpose", "limbs"]

VISIBLE: Final = 0.5
HEAD: Final = "head"
BODY_PARTS: Final = (HEAD, "shoulders", "arms", "hips", "legs")

# MediaPipe's points in OpenPose's order; the neck, between the shoulders, has none.
_NECK: Final = 1
_FROM_MEDIAPIPE: Final = (0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
_SHOULDERS: Final = (11, 12)
# Limbs between OpenPose's points, in the order of their colours, and the part of the body that each belongs to.
_OPENPOSE: Final = (
    (1, 2, "shoulders"), (1, 5, "shoulders"), (2, 3, "arms"), (3, 4, "arms"), (5, 6, "arms"), (6, 7, "arms"),
    (1, 8, "hips"), (8, 9, "legs"), (9, 10, "legs"), (1, 11, "hips"), (11, 12, "legs"), (12, 13, "legs"),
    (1, 0, "head"), (0, 14, "head"), (14, 16, "head"), (0, 15, "head"), (15, 17, "head"),
)  # fmt: skip
_HUES: Final = tuple(
    tuple(round(255 * part) for part in rgb)
    for rgb in (
        (1, 0, 0), (1, 1 / 3, 0), (1, 2 / 3, 0), (1, 1, 0), (2 / 3, 1, 0), (1 / 3, 1, 0), (0, 1, 0), (0, 1, 1 / 3),
        (0, 1, 2 / 3), (0, 1, 1), (0, 2 / 3, 1), (0, 1 / 3, 1), (0, 0, 1), (1 / 3, 0, 1), (2 / 3, 0, 1), (1, 0, 1),
        (1, 0, 2 / 3), (1, 0, 1 / 3),
    )
)  # fmt: skip
_SHORT_SIDE: Final = 1024  # px at which VACE's annotator draws before it scales to the video's size
_STEP: Final = 64  # px: its canvas has sides that are multiples of it
_WIDTH: Final = 4  # px on that canvas: half a limb's width, and a joint's radius
_LIMB_LIGHT: Final = 0.6  # limbs are darker than joints
# Limbs between MediaPipe's points, feet included and the head left out.
_LIMBS: Final = (
    (11, 13), (13, 15), (15, 17), (15, 19), (12, 14), (14, 16), (16, 18), (16, 20),
    (11, 12), (23, 24), (11, 23), (12, 24),
    (23, 25), (25, 27), (27, 31), (24, 26), (26, 28), (28, 32),
)  # fmt: skip
_LIMB_COLOURS: Final = tuple(
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number / len(_LIMBS), 0.9, 1.0))
    for number in range(len(_LIMBS))
)


def to_openpose(points: Points) -> Points:
    """Map MediaPipe's 33 points to OpenPose's 18: the neck is the middle of the shoulders.

    Args:
        points: (33,3), x and y in px and visibility 0..1.

    Returns:
        (18,3) in the order nose, neck, right arm, left arm, right leg, left leg, eyes, ears; sides are the person's.
    """
    found = points[list(_FROM_MEDIAPIPE)].copy()
    shoulders = points[list(_SHOULDERS)]
    found[_NECK, :2], found[_NECK, 2] = shoulders[:, :2].mean(0), shoulders[:, 2].min()
    return found


def seen_limbs(points: Points, height: int, width: int) -> list[str]:
    """List the limbs of which both ends are seen inside the picture, each by the part of the body it belongs to.

    Args:
        points: (33,3) of MediaPipe.
        height: Of the picture in px.
        width: Of the picture in px.

    Returns:
        Names of `BODY_PARTS`, one for each limb.
    """
    seen = _find_seen(to_openpose(points), height, width)
    return [part for start, end, part in _OPENPOSE if seen[start] and seen[end]]


def draw_pose(points: Points | None, height: int, width: int, style: PoseStyle = "openpose") -> Frames:
    """Draw a pose on black.

    Args:
        points: (33,3) landmarks of MediaPipe; None: nothing is drawn. What is not visible is skipped.
        height: Of the picture in px.
        width: Of the picture in px.
        style: `openpose`: as VACE's own annotator, which exchanges red and blue of OpenPose's colours, so that this is
            what VACE was trained on; `dwpose`: OpenPose's colours, as ControlNets know them; `limbs`: thin limbs with
            feet and without the head.

    Returns:
        (H,W,3) RGB uint8.
    """
    if points is None:
        return np.zeros((height, width, 3), np.uint8)
    if style == "limbs":
        return _draw_limbs(points, height, width)
    found = to_openpose(points)
    drawn = draw_openpose(found, _find_seen(found, height, width), height, width)
    return np.ascontiguousarray(drawn[:, :, ::-1]) if style == "openpose" else drawn


def draw_openpose(points: Points, seen: NDArray[np.bool_], height: int, width: int) -> Frames:
    """Draw OpenPose's 18 points in its own colours: limbs as flat ellipses, joints as brighter discs over them.

    Args:
        points: (18,3), x and y in px.
        seen: (18,), the points that are drawn.
        height: Of the picture in px.
        width: Of the picture in px.

    Returns:
        (H,W,3) RGB uint8.
    """
    scale = _SHORT_SIDE / min(height, width)
    rows, columns = (round(side * scale / _STEP) * _STEP for side in (height, width))
    places = points[:, :2] * (columns / width, rows / height)
    canvas = np.zeros((rows, columns, 3), np.uint8)
    for (start, end, _), colour in zip(_OPENPOSE, _HUES, strict=False):
        if seen[start] and seen[end]:
            along = places[start] - places[end]
            middle = places[[start, end]].mean(0).astype(int)
            half = int(np.hypot(*along) / 2)
            turned = int(np.degrees(np.arctan2(along[1], along[0])))
            outline = cv2.ellipse2Poly((int(middle[0]), int(middle[1])), (half, _WIDTH), turned, 0, 360, 1)
            cv2.fillConvexPoly(canvas, np.asarray(outline, np.int32), colour)
    canvas = (canvas * _LIMB_LIGHT).astype(np.uint8)
    for place, colour, shown in zip(places.astype(int), _HUES, seen, strict=True):
        if shown:
            cv2.circle(canvas, (int(place[0]), int(place[1])), _WIDTH, colour, -1)
    how = cv2.INTER_LANCZOS4 if height * width > rows * columns else cv2.INTER_AREA
    return np.asarray(cv2.resize(canvas, (width, height), interpolation=how), np.uint8)


def _draw_limbs(points: Points, height: int, width: int) -> Frames:
    picture = np.zeros((height, width, 3), np.uint8)
    thick = max(2, round(min(height, width) / 90))
    for (start, end), colour in zip(_LIMBS, _LIMB_COLOURS, strict=True):
        if min(points[start, 2], points[end, 2]) >= VISIBLE:
            places: Sequence[tuple[int, int]] = [
                (round(float(points[at, 0])), round(float(points[at, 1]))) for at in (start, end)
            ]
            cv2.line(picture, places[0], places[1], colour, thick, cv2.LINE_AA)
    return picture


def _find_seen(points: Points, height: int, width: int) -> NDArray[np.bool_]:
    """Return which points are visible and inside the picture: MediaPipe guesses those outside."""
    x, y = points[:, 0], points[:, 1]
    return (points[:, 2] >= VISIBLE) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
