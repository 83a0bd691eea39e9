"""Shapes of nothing in particular: blobs, polygons, bars; some let the face shine through."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import Face, Layer, Surfaces, polygon, somewhere


def shape(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw one shape somewhere over the face."""
    size = rng.uniform(0.2, 0.9)
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
    radii = rng.uniform(0.5, 1.1, len(angles))
    if rng.random() < 0.6:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        radii = np.ones(48)
        for k in range(1, 7):
            radii += rng.normal(0, 0.25 / k) * np.sin(k * angles + rng.uniform(0, 6))
    stretch = np.array([rng.uniform(0.5, 1.6), rng.uniform(0.5, 1.6)])
    outline = np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None] * size * stretch
    alpha = polygon(face.to_px(outline + somewhere(rng)), face.size)
    if rng.random() < 0.2:
        alpha = alpha * rng.uniform(0.35, 0.9)
    return Layer(surface(face.size, rng), np.asarray(alpha, np.float32))
