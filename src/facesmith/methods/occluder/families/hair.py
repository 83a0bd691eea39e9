"""Strands of hair that fall over a face."""

import cv2
import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import Face, Layer, Points, Surfaces

_COLOURS = ((24, 18, 15), (62, 42, 28), (110, 74, 44), (170, 128, 78), (214, 184, 130), (150, 70, 36), (190, 188, 186))
_T = np.linspace(0, 1, 14)
_BEZIER = np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2], -1)


def hair(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw one to four locks, each of many strands, from above or from a side."""
    colour = np.array(_COLOURS[rng.integers(len(_COLOURS))], np.float32) * rng.uniform(0.8, 1.2)
    strands = np.zeros((face.size, face.size, 4), np.uint8)  # colour times coverage, and coverage
    for _ in range(int(rng.integers(1, 5))):
        side = rng.choice([-1.0, 1.0])
        root = np.array([side * rng.uniform(0, 0.9), rng.uniform(-1.3, -0.6)])
        tip = np.array([side * rng.uniform(0.1, 1.0) + rng.normal(0, 0.3), rng.uniform(-0.2, 1.8)])
        pull = (root + tip) / 2 + rng.normal(0, 0.35, 2)
        ends = _lock(np.stack([root, pull, tip]), int(rng.integers(12, 60)), rng)
        curves = face.to_px(np.einsum("tk,nkc->ntc", _BEZIER, ends))
        thick = max(1, round(rng.uniform(0.006, 0.02) * face.unit))
        for curve in np.rint(curves * 16).astype(np.int32):
            tone = [*np.clip(colour * rng.uniform(0.6, 1.5), 0, 255).tolist(), 255]
            cv2.polylines(strands, [curve], False, tone, thick, cv2.LINE_AA, 4)
    alpha = np.asarray(strands[..., 3] / 255, np.float32)
    shine = 1 + 2 * cv2.GaussianBlur(rng.normal(0, 1, alpha.shape).astype(np.float32), (0, 0), 0.2 * face.unit)
    rgb = strands[..., :3] / np.maximum(alpha, 1 / 255)[..., None] * shine[..., None]
    return Layer(np.asarray(np.clip(rgb, 0, 255), np.float32), np.asarray(alpha, np.float32))


def _lock(course: Points, count: int, rng: Generator) -> Points:
    """Lay strands (count,3,2) side by side along a course (3,2): they keep their place in the lock, a few stray."""
    along = course[-1] - course[0]
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    width = rng.uniform(0.04, 0.22) * np.array([rng.uniform(0.5, 1), 1, rng.uniform(0.2, 1.3)])
    beside = rng.normal(0, 1, (count, 1, 1)) * width[:, None] * across
    stray = np.where(rng.random((count, 1, 1)) < 0.1, 0.2, 0.02)
    return course + beside + rng.normal(0, 1, (count, 3, 2)) * stray
