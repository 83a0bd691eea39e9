"""Flutes, bows, brushes, pens: thin straight things across a face."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import (
    Face,
    Layer,
    Surfaces,
    any_colour,
    covered,
    over,
    plain,
    rounded,
    tubes,
    turned,
)


def instrument(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw one to three rods of some thickness, with keys or rings on them."""
    layer = plain([0, 0, 0], np.zeros((face.size,) * 2, np.float32))
    for _ in range(int(rng.integers(1, 4))):
        angle, wide = rng.uniform(0, np.pi), rng.uniform(0.04, 0.12)
        start = rng.uniform(-2.5, 0.2)
        line = np.array([[0, start], [0, start + rng.uniform(1.8, 4)]])
        at = np.array([rng.normal(0, 0.35), rng.normal(0.55, 0.4)])
        depth = tubes(face.to_px(turned(line, angle) + at), [wide * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = over(layer, Layer(any_colour(rng) * rounded(depth, wide * face.unit, rng)[..., None], covered(depth)))
        heights = np.arange(line[0, 1], line[1, 1], rng.uniform(0.2, 0.5))
        keys = face.to_px(turned(np.stack([0 * heights, heights], -1), angle) + at)
        links = [(i, i) for i in range(len(keys))]
        depth = tubes(keys, [wide * 1.3 * face.unit] * len(keys), links, face.size).max(0)
        layer = over(layer, Layer(np.full(3, 190.0) * rounded(depth, wide * face.unit, rng)[..., None], covered(depth)))
    return layer
