"""Things held up to a face: telephones, cups, bottles, books, cards, balls; often with the hand that holds them."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.hand import hand
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
    somewhere,
    tubes,
    turned,
)


def held(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw a thing somewhere over the face."""
    make = (_phone, _cup, _bottle, _book, _ball)[rng.integers(5)]
    thing = make(face, surface, rng, somewhere(rng), rng.normal(0, 0.35))
    if rng.random() < 0.4:
        grip = hand(face, surface, rng)
        thing = over(thing, grip) if rng.random() < 0.6 else over(grip, thing)
    return thing


def box(width: float, height: float, round_by: float = 0.0) -> Points:
    """Give the outline (k,2) of a box around the origin, its corners rounded."""
    corners = []
    for x, y, start in ((1, -1, -90), (1, 1, 0), (-1, 1, 90), (-1, -1, 180)):
        middle = np.array([x * (width / 2 - round_by), y * (height / 2 - round_by)])
        angles = np.radians(np.linspace(start, start + 90, 6 if round_by else 1))
        corners.append(middle + round_by * np.stack([np.cos(angles), np.sin(angles)], -1))
    return np.concatenate(corners)


def _phone(face: Face, surface: Surfaces, rng: Generator, at: Points, angle: float) -> Layer:
    width = rng.uniform(0.65, 0.95)
    height = width * rng.uniform(1.9, 2.2)
    outer, inner = box(width, height, 0.08), box(width * 0.92, height * 0.94, 0.06)
    body = plain(any_colour(rng) * 0.5, polygon(face.to_px(turned(outer, angle) + at), face.size))
    if rng.random() < 0.5:
        screen = surface(face.size, rng) * rng.uniform(0.1, 1)
        return over(body, Layer(screen, polygon(face.to_px(turned(inner, angle) + at), face.size)))
    lens = polygon(face.to_px(turned(box(0.2, 0.3, 0.08) + np.array([-width / 4, -height / 3]), angle) + at), face.size)
    return over(body, plain([18, 18, 22], lens))


def _cup(face: Face, surface: Surfaces, rng: Generator, at: Points, angle: float) -> Layer:
    top, height = rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.2)
    bottom = top * rng.uniform(0.6, 1)
    bow = [np.array([np.sin(t) * w / 2, y + np.cos(t) * 0.06]) for w, y in ((bottom, height),) for t in _ARC]
    outline = np.array([[-top / 2, 0], [top / 2, 0], *bow])
    body = _shaded(face, surface, rng, face.to_px(turned(outline, angle) + at), top)
    handle = box(0.35, 0.5, 0.15) + np.array([top / 2, height / 2])
    ring = polygon(face.to_px(turned(handle, angle) + at), face.size)
    ring -= polygon(face.to_px(turned(handle * 0.6 + handle.mean(0) * 0.4, angle) + at), face.size)
    return over(plain(any_colour(rng), np.clip(ring, 0, 1)), body)


_ARC = np.linspace(np.pi / 2, -np.pi / 2, 9)


def _bottle(face: Face, surface: Surfaces, rng: Generator, at: Points, angle: float) -> Layer:
    wide = rng.uniform(0.2, 0.34)
    neck = wide * rng.uniform(0.3, 0.5)
    line = np.array([[0, 0], [0, 0.35], [0, 0.7], [0, 2.2]])
    places = face.to_px(turned(line, angle) + at)
    radii = [r * face.unit for r in (neck, neck, wide, wide)]
    depth = tubes(places, radii, [(0, 1), (1, 2), (2, 3)], face.size).max(0)
    glass = rng.random() < 0.4
    rgb = surface(face.size, rng) if rng.random() < 0.5 else np.broadcast_to(any_colour(rng), (*depth.shape, 3))
    shade = rounded(depth, wide * face.unit, rng)
    return Layer(
        np.asarray(rgb * shade[..., None], np.float32), covered(depth) * (rng.uniform(0.5, 0.9) if glass else 1)
    )


def _book(face: Face, surface: Surfaces, rng: Generator, at: Points, angle: float) -> Layer:
    outline = box(rng.uniform(0.8, 2), rng.uniform(0.6, 1.6)) + rng.normal(0, 0.06, (4, 2))
    cover = polygon(face.to_px(turned(outline, angle) + at), face.size)
    return Layer(surface(face.size, rng), cover)


def _ball(face: Face, surface: Surfaces, rng: Generator, at: Points, angle: float) -> Layer:
    radius = rng.uniform(0.25, 0.7) * face.unit
    depth = tubes(face.to_px(np.array([at, at + 1e-3])), [radius, radius], [(0, 1)], face.size)[0]
    return Layer(surface(face.size, rng) * rounded(depth, radius, rng)[..., None], covered(depth))


def _shaded(face: Face, surface: Surfaces, rng: Generator, outline: Points, width: float) -> Layer:
    """Cover an outline with a surface that turns away from the light to its sides."""
    alpha = polygon(outline, face.size)
    across = (np.arange(face.size) - outline[:, 0].mean()) / (width * face.unit / 2)
    light = 1 - 0.45 * np.clip(np.abs(across - rng.uniform(-0.5, 0.5)), 0, 1.3) ** 2
    return Layer(np.asarray(surface(face.size, rng) * light[None, :, None], np.float32), alpha)
