"""Food-like things at the mouth: spoons and forks, fruit, cones, rolls, slices."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import (
    Face,
    Layer,
    Points,
    Surfaces,
    any_colour,
    covered,
    over,
    plain,
    polygon,
    rounded,
    stroke,
    tubes,
    turned,
)

_RIPE = ((214, 48, 40), (236, 140, 40), (244, 208, 70), (140, 180, 60), (120, 70, 40), (222, 178, 120), (250, 236, 214))


def food(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw something to eat near the mouth."""
    at = np.array([rng.normal(0, 0.2), rng.normal(0.85, 0.15)])
    return (_cutlery, _banana, _cone, _roll, _slice)[rng.integers(5)](face, surface, rng, at)


def _ripe(rng: Generator) -> Points:
    return np.array(_RIPE[rng.integers(len(_RIPE))], np.float32) * rng.uniform(0.8, 1.1, 3)


def _cutlery(face: Face, surface: Surfaces, rng: Generator, at: Points) -> Layer:
    angle = rng.uniform(-1.9, 1.9)
    metal = np.full(3, rng.uniform(120, 220))
    handle = face.to_px(turned(np.array([[0, 0.0], [0, 0.35], [0, 2.2]]), angle) + at)
    depth = tubes(handle, [0.04 * face.unit] * 2 + [0.07 * face.unit], [(0, 1), (1, 2)], face.size).max(0)
    grip = Layer(metal * rounded(depth, 0.06 * face.unit, rng)[..., None], covered(depth))
    if rng.random() < 0.5:
        bowl = face.to_px(turned(np.array([[0, -0.18], [0, 0.12]]), angle) + at)
        depth = tubes(bowl, [0.13 * face.unit, 0.14 * face.unit], [(0, 1)], face.size)[0]
        head = Layer(metal * rounded(depth, 0.14 * face.unit, rng)[..., None], covered(depth))
    else:
        head = plain(metal, np.zeros((face.size,) * 2, np.float32))
        for x in (-0.09, -0.03, 0.03, 0.09):
            prong = face.to_px(turned(np.array([[x, -0.35], [x, 0.0], [0, 0.15]]), angle) + at)
            head = over(head, plain(metal, stroke(prong, face.size, 0.035 * face.unit)))
    bite = face.to_px(np.array([at, at + 0.01]))
    depth = tubes(bite, [rng.uniform(0.08, 0.22) * face.unit] * 2, [(0, 1)], face.size)[0]
    return over(over(grip, head), Layer(_ripe(rng) * rounded(depth, 0.15 * face.unit, rng)[..., None], covered(depth)))


def _banana(face: Face, surface: Surfaces, rng: Generator, at: Points) -> Layer:
    bow, angle = rng.uniform(-0.5, 0.5), rng.uniform(-1.5, 1.5)
    t = np.linspace(0, 1, 7)
    line = face.to_px(turned(np.stack([bow * 4 * t * (1 - t), t * rng.uniform(1, 1.9)], -1), angle) + at)
    thick = rng.uniform(0.1, 0.22) * face.unit
    radii = thick * (0.4 + 0.6 * np.sin(np.pi * np.clip(t, 0.12, 0.9)))
    depth = tubes(line, radii.tolist(), [(i, i + 1) for i in range(6)], face.size).max(0)
    return Layer(_ripe(rng) * rounded(depth, thick, rng)[..., None], covered(depth))


def _cone(face: Face, surface: Surfaces, rng: Generator, at: Points) -> Layer:
    angle = rng.normal(0, 0.4)
    wafer = polygon(face.to_px(turned(np.array([[-0.28, 0.1], [0.28, 0.1], [0.0, 1.3]]), angle) + at), face.size)
    layer = Layer(surface(face.size, rng) * 0.4 + np.array([200, 150, 90], np.float32) * 0.6, wafer)
    for x, y in ((-0.12, -0.05), (0.14, -0.02), (0.0, -0.3))[: rng.integers(1, 4)]:
        place = face.to_px(turned(np.array([[x, y], [x, y + 0.01]]), angle) + at)
        depth = tubes(place, [0.26 * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = over(layer, Layer(_ripe(rng) * rounded(depth, 0.26 * face.unit, rng)[..., None], covered(depth)))
    return layer


def _roll(face: Face, surface: Surfaces, rng: Generator, at: Points) -> Layer:
    layer = plain([0, 0, 0], np.zeros((face.size,) * 2, np.float32))
    wide, angle = rng.uniform(0.3, 0.6), rng.normal(0, 0.3)
    for y in np.linspace(-0.25, 0.25, int(rng.integers(2, 5))):
        line = face.to_px(turned(np.array([[-wide, y], [wide, y]]), angle) + at)
        thick = rng.uniform(0.08, 0.2) * face.unit
        depth = tubes(line, [thick, thick], [(0, 1)], face.size)[0]
        rgb = _ripe(rng) * rounded(depth, thick, rng)[..., None] * 0.8 + surface(face.size, rng) * 0.2
        layer = over(layer, Layer(rgb.astype(np.float32), covered(depth)))
    return layer


def _slice(face: Face, surface: Surfaces, rng: Generator, at: Points) -> Layer:
    angle, size = rng.uniform(-3, 3), rng.uniform(0.7, 1.3)
    outline = np.array([[0, 0], [-0.35, 1.0], [-0.15, 1.08], [0.15, 1.08], [0.35, 1.0]]) * size
    layer = Layer(
        surface(face.size, rng) * 0.3 + _ripe(rng) * 0.7, polygon(face.to_px(turned(outline, angle) + at), face.size)
    )
    for x, y in rng.uniform([-0.2, 0.3], [0.2, 0.9], (int(rng.integers(0, 5)), 2)) * size:
        spot = face.to_px(turned(np.array([[x, y], [x, y + 0.01]]), angle) + at)
        depth = tubes(spot, [0.08 * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = over(layer, plain(any_colour(rng), covered(depth) * layer.alpha))
    return layer
