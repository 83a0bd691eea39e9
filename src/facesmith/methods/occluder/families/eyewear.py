"""Glasses, whose rims alone cover the face, and sunglasses, whose lenses do."""

import cv2
import numpy as np
from numpy.random import Generator

from facesmith.faces.geometry import topology
from facesmith.methods.occluder.families.held import box
from facesmith.methods.occluder.families.layer import (
    Face,
    Layer,
    Plane,
    Points,
    Surfaces,
    any_colour,
    over,
    plain,
    polygon,
    stroke,
)


def glasses(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw glasses with clear lenses."""
    return _frame(face, rng, _lenses(face, rng))


def sunglasses(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw glasses with dark or mirroring lenses, some of which let the eyes shine through."""
    lenses = _lenses(face, rng)
    dark = np.max([polygon(lens, face.size) for lens in lenses], axis=0)
    clear = rng.uniform(0.55, 0.85) if rng.random() < 0.3 else rng.uniform(0.92, 1)
    tint = any_colour(rng) * rng.uniform(0.05, 0.4)
    fall = np.linspace(0.7, 1.4, face.size, dtype=np.float32)[:, None, None]
    rgb = np.broadcast_to(tint * fall, (face.size, face.size, 3))
    if rng.random() < 0.5:
        mirrored = cv2.GaussianBlur(surface(face.size, rng), (0, 0), 0.08 * face.unit)
        rgb = rgb * 0.6 + mirrored * rng.uniform(0.1, 0.5)
    return over(Layer(np.asarray(rgb, np.float32), dark * clear), _frame(face, rng, lenses))


def _lenses(face: Face, rng: Generator) -> list[Points]:
    """Give the outlines of the two lenses (k,2) in px, around the eyes as they lie in the picture."""
    width, height = rng.uniform(0.42, 0.56), rng.uniform(0.28, 0.46)
    outline = box(width, height, min(width, height) * rng.uniform(0.15, 0.5))
    drop = rng.uniform(-0.02, 0.08)
    lenses = []
    for eye in (topology.LEFT_EYE, topology.RIGHT_EYE):
        middle = face.landmarks[eye, :2].mean(0)
        lenses.append(face.to_px(outline + np.array([0, drop])) - face.to_px(np.zeros(2)) + middle)
    return lenses


def _frame(face: Face, rng: Generator, lenses: list[Points]) -> Layer:
    thick = rng.uniform(0.015, 0.07) * face.unit
    alpha: Plane = np.zeros((face.size, face.size), np.float32)
    for lens in lenses:
        alpha = np.maximum(alpha, stroke(np.concatenate([lens, lens[:2]]), face.size, thick))
    left, right = (lens.mean(0) for lens in lenses)
    reach = [np.ptp(lens @ ((right - left) / np.linalg.norm(right - left))) / 2 for lens in lenses]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    up = np.array([along[1], -along[0]]) * 0.06 * face.unit
    for start, end in (
        (left + along * reach[0] + up, right - along * reach[1] + up),
        (left - along * reach[0] + up, left - along * (reach[0] + 0.8 * face.unit) + up),
        (right + along * reach[1] + up, right + along * (reach[1] + 0.8 * face.unit) + up),
    ):
        alpha = np.maximum(alpha, stroke(np.stack([start, end]), face.size, thick))
    return plain(any_colour(rng) * rng.uniform(0.1, 1), alpha)
