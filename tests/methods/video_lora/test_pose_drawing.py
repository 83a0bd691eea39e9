"""Poses drawn as VACE's own annotator draws them."""

from pathlib import Path

import numpy as np

from facesmith.media.images import read_image
from facesmith.methods.video_lora.pose_drawing import draw_openpose, draw_pose, seen_limbs, to_openpose

# Drawn by VACE's annotators/dwpose/util.py (Apache-2.0) at its own size and scaled as annotators/pose.py does.
OFFICIAL = Path(__file__).with_name("openpose_by_vace.png")
PLACES = (
    (80, 30), (80, 50), (62, 52), (50, 76), (44, 100), (98, 50), (112, 74), (126, 62), (68, 100), (64, 136), (60, 172),
    (92, 100), (98, 134), (110, 168), (76, 26), (84, 26), (70, 30), (90, 30),
)  # fmt: skip


def standing() -> np.ndarray:
    """Return MediaPipe's points of somebody who faces the camera: the person's left is on the right."""
    points = np.zeros((33, 3), np.float32)
    named = {0: (50, 20), 2: (54, 18), 5: (46, 18), 7: (58, 20), 8: (42, 20), 11: (65, 35), 12: (35, 35)}
    named |= {13: (75, 50), 14: (25, 50), 15: (80, 65), 16: (20, 65), 23: (58, 65), 24: (42, 65)}
    named |= {25: (59, 80), 26: (41, 80), 27: (60, 95), 28: (40, 95)}
    for number, place in named.items():
        points[number] = (*place, 1)
    return points


def test_draw_openpose_equals_official_drawing() -> None:
    points = np.array([(*place, 1) for place in PLACES], np.float32)
    seen = np.arange(18) != 16
    official = read_image(OFFICIAL)
    ours = draw_openpose(points, seen, *official.shape[:2])[:, :, ::-1]
    assert np.abs(ours.astype(int) - official).max() <= 1


def test_to_openpose_neck_and_sides() -> None:
    found = to_openpose(standing())
    assert found[1].tolist() == [50, 35, 1]
    assert found[2, 0] < found[5, 0]  # the right shoulder is on the left
    assert found[14, 0] < found[15, 0]
    assert found[17].tolist() == [58, 20, 1]


def test_draw_pose_styles_have_their_colours() -> None:
    points = standing() * (4, 4, 1)
    vace, dwpose = (draw_pose(points, 400, 400, style) for style in ("openpose", "dwpose"))
    assert np.array_equal(vace, dwpose[:, :, ::-1])
    right_arm = vace[140, 170]  # between neck and right shoulder is OpenPose's first, red limb
    assert right_arm[2] > 2 * right_arm[0]
    assert not draw_pose(points, 400, 400, "limbs")[:120].any()


def test_seen_limbs_outside_the_picture_are_not_counted() -> None:
    assert len(seen_limbs(standing(), 100, 100)) == 17
    assert seen_limbs(standing(), 60, 100).count("legs") == 0
    hidden = standing()
    hidden[[14, 16], 2] = 0.2
    assert seen_limbs(hidden, 100, 100).count("arms") == 2
