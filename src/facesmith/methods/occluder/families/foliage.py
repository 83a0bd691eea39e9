"""Leaves and twigs between camera and face."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import Face, Layer, Surfaces, over, plain, polygon, stroke, turned


def foliage(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw a twig with leaves that reaches in from a rim."""
    t = np.linspace(0, 1, 12)[:, None]
    bow = rng.normal(0, 0.5)
    line = np.concatenate([bow * t * (1 - t) * 4, -2.6 + 3.2 * t], axis=1)
    line = turned(line, rng.uniform(0, 2 * np.pi)) + np.array([rng.normal(0, 0.4), rng.normal(0.4, 0.4)])
    layer = plain([84, 60, 38], stroke(face.to_px(line), face.size, 0.05 * face.unit))
    green = np.array([rng.uniform(40, 150), rng.uniform(90, 180), rng.uniform(20, 80)], np.float32)
    width = np.sin(np.linspace(0, np.pi, 9)) * rng.uniform(0.08, 0.2)
    length = np.linspace(0, rng.uniform(0.4, 0.9), 9)
    leaf = np.concatenate([np.stack([width, -length], -1), np.stack([-width, -length], -1)[::-1]])
    for place in line[rng.integers(2, 12, int(rng.integers(4, 11)))]:
        outline = turned(leaf, rng.uniform(0, 2 * np.pi)) + place
        texture = 0.75 + 0.25 * surface(face.size, rng).mean(-1, keepdims=True) / 128
        one = Layer(
            np.asarray(green * rng.uniform(0.7, 1.3) * texture, np.float32), polygon(face.to_px(outline), face.size)
        )
        layer = over(layer, one)
    return layer
