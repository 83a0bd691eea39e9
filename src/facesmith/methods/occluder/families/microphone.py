"""Microphones on a handle or a stand."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import (
    Face,
    Layer,
    Surfaces,
    any_colour,
    covered,
    over,
    rounded,
    tubes,
    turned,
)


def microphone(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw a microphone in front of the mouth, its handle towards the lower rim."""
    at = np.array([rng.normal(0, 0.25), rng.normal(0.9, 0.2)])
    angle, wide = rng.normal(0, 0.7), rng.uniform(0.14, 0.3)
    handle = face.to_px(turned(np.array([[0, 0.1], [0, 3.0]]), angle) + at)
    depth = tubes(handle, [0.6 * wide * face.unit, 0.45 * wide * face.unit], [(0, 1)], face.size)[0]
    body = Layer(any_colour(rng) * 0.5 * rounded(depth, 0.5 * wide * face.unit, rng)[..., None], covered(depth))
    head = face.to_px(turned(np.array([[0, -wide * rng.uniform(0, 0.8)], [0, 0.1]]), angle) + at)
    depth = tubes(head, [wide * face.unit] * 2, [(0, 1)], face.size)[0]
    y, x = np.mgrid[0 : face.size, 0 : face.size]
    pitch = max(2.0, 0.04 * face.unit)
    mesh = 1 + 0.25 * np.sin(2 * np.pi * (x + y) / pitch) * np.sin(2 * np.pi * (x - y) / pitch)
    grey = np.full(3, rng.uniform(20, 190), np.float32)
    rgb = grey * (mesh * rounded(depth, wide * face.unit, rng))[..., None]
    return over(body, Layer(rgb.astype(np.float32), covered(depth)))
