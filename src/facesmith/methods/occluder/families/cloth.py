"""Cloth: scarves and collars over the chin, masks over mouth and nose, cloth hanging in from a side."""

import numpy as np
from numpy.random import Generator

from facesmith.faces.geometry import topology
from facesmith.methods.occluder.families.layer import Face, Layer, Plane, Surfaces, polygon, stroke, turned

_CHEEK_TO_CHEEK = topology.OVAL[9:28]  # the oval's lower half, from one ear to the other
_NOSE_RIDGE = (6, 197, 195, 5, 4)


def cloth(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw cloth with folds."""
    return (_scarf, _mask, _hanging)[rng.integers(3)](face, surface, rng)


def _folds(face: Face, rng: Generator) -> Plane:
    y, x = np.mgrid[0 : face.size, 0 : face.size] / face.unit
    shade = np.ones((face.size, face.size))
    for _ in range(3):
        angle, count = rng.uniform(0, np.pi), rng.uniform(2, 9)
        wave = np.sin(count * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6) + np.sin(2 * y))
        shade += rng.uniform(0.04, 0.16) * wave
    return shade.astype(np.float32)


def _draped(face: Face, surface: Surfaces, rng: Generator, alpha: Plane) -> Layer:
    return Layer(np.clip(surface(face.size, rng) * _folds(face, rng)[..., None], 0, 255).astype(np.float32), alpha)


def _wavy(rng: Generator, count: int, rough: float) -> np.ndarray:
    t = np.linspace(-1, 1, count)
    return sum(rng.normal(0, rough / k) * np.sin(k * 2 * t + rng.uniform(0, 6)) for k in range(1, 5)) + 0 * t


def _scarf(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    x = np.linspace(-2.2, 2.2, 24)
    top = rng.uniform(0.45, 1.15) + 0.12 * x**2 * rng.uniform(-1, 1) + _wavy(rng, 24, 0.1)
    outline = np.concatenate([np.stack([x, top], -1), [[2.2, 4], [-2.2, 4]]])
    return _draped(face, surface, rng, polygon(face.to_px(turned(outline, rng.normal(0, 0.12))), face.size))


def _mask(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    points = face.landmarks[:, :2]
    jaw = points[_CHEEK_TO_CHEEK] * 1.0
    middle = jaw.mean(0)
    jaw = middle + (jaw - middle) * rng.uniform(0.95, 1.1)
    bridge = points[_NOSE_RIDGE[rng.integers(len(_NOSE_RIDGE))]]
    start, end = (int(rng.integers(0, 4)), len(jaw) - int(rng.integers(0, 4)))
    side = jaw[start:end]
    outline = np.concatenate([side, [(side[-1] + bridge) / 2], [bridge], [(side[0] + bridge) / 2]])
    alpha = polygon(outline, face.size)
    for corner, out in ((side[0], 1), (side[-1], -1)):
        band = np.stack([corner, corner + np.array([out * 0.9, -0.5]) * face.unit])
        alpha = np.maximum(alpha, stroke(band, face.size, 0.03 * face.unit))
    return _draped(face, surface, rng, alpha)


def _hanging(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    edge = np.linspace(-2.5, 3.5, 24)
    inner = rng.uniform(-0.1, 0.75) + _wavy(rng, 24, 0.12)
    outline = np.concatenate([np.stack([inner, edge], -1), [[4, 3.5], [4, -2.5]]])
    angle = rng.choice([0, np.pi / 2, np.pi, -np.pi / 2], p=[0.35, 0.05, 0.35, 0.25]) + rng.normal(0, 0.3)
    return _draped(face, surface, rng, polygon(face.to_px(turned(outline, angle) + np.array([0, 0.4])), face.size))
