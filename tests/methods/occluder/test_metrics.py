"""Figures of masks made by hand."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from facesmith.methods.occluder.dataset import FAMILY_NAMES
from facesmith.methods.occluder.metrics import MaskMetrics, boundary, flicker


def plane(top: int, bottom: int, left: int, right: int, size: int = 40) -> Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[..., top:bottom, left:right] = 1
    return mask


def test_mask_metrics_handmade_masks() -> None:
    metrics = MaskMetrics(["foliage"])
    hull = plane(0, 20, 0, 20)  # 400 px
    wanted = plane(0, 20, 0, 15)  # 100 px of them hidden
    found = plane(0, 20, 0, 18)  # 40 of these found
    metrics.update(found, wanted, hull, torch.tensor([FAMILY_NAMES.index("hand")]))
    figures = {name: float(value) for name, value in metrics.compute_and_reset().items()}
    assert figures["mask_iou"] == pytest.approx(300 / 360)
    assert figures["iou_hand"] == pytest.approx(300 / 360)
    assert figures["occluded_recall"] == pytest.approx(0.4)
    assert figures["occluded_precision"] == pytest.approx(1)
    assert not {"iou_foliage", "mask_iou_unseen", "false_occlusion"} & set(figures)

    metrics.update(plane(0, 20, 0, 10), wanted, hull, torch.tensor([FAMILY_NAMES.index("foliage")]))
    metrics.update(plane(0, 20, 0, 19), hull, hull, torch.tensor([FAMILY_NAMES.index("none")]))
    figures = {name: float(value) for name, value in metrics.compute_and_reset().items()}
    assert figures["mask_iou_unseen"] == pytest.approx(200 / 300)
    assert figures["occluded_recall_unseen"] == pytest.approx(1)
    assert figures["occluded_precision_unseen"] == pytest.approx(0.5)
    assert figures["false_occlusion"] == pytest.approx(0.05)
    assert figures["mask_iou"] == pytest.approx((200 + 380) / (300 + 400))


def test_mask_metrics_outside_face_does_not_count() -> None:
    metrics = MaskMetrics([])
    hull = plane(0, 20, 0, 20)
    metrics.update(plane(0, 40, 0, 40), plane(0, 20, 0, 10), hull, torch.tensor([1]))
    assert float(metrics.compute_and_reset()["occluded_recall"]) == 0


def test_boundary_excludes_picture_border() -> None:
    mask = plane(10, 30, 10, 30) > 0.5
    edge = boundary(mask)
    assert edge[0, 0, 10, 20]
    assert not edge[0, 0, 20, 20]
    assert not boundary(torch.ones(1, 1, 40, 40, dtype=torch.bool)).any()


def test_flicker_mask_moving_with_face_is_zero() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 44, (478, 2)).astype(np.float32)
    disc = np.zeros((64, 64), np.float32)
    cv2.circle(disc, (32, 32), 14, 1.0, -1, cv2.LINE_AA)
    moves = [np.array([[1, 0, 1.5 * k], [0, 1, -k]], np.float32) for k in range(4)]
    masks = np.stack([cv2.warpAffine(disc, move, (64, 64)) for move in moves])
    places = np.stack([points @ move[:, :2].T + move[:, 2] for move in moves])
    tracks = np.zeros(4, int)
    still = flicker(masks, places, tracks)
    assert still is not None
    assert still < 0.03
    blinking = masks.copy()
    blinking[::2, :, 32:] = 0
    restless = flicker(blinking, places, tracks)
    assert restless is not None
    assert restless > 10 * still
    assert flicker(masks, places, np.arange(4)) is None
