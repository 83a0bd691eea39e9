"""Occluder families of made things: held objects, instruments, microphones, plain shapes."""

import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.drawing import (
    FaceCanvas,
    Layer,
    Points,
    TextureSource,
    composite_over,
    coverage,
    fill_polygon,
    random_colour,
    random_place,
    rotate,
    shade_rounded,
    solid_layer,
    tube_depth,
)
from facesmith.methods.occluder.families.organic import hand


def held(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw a thing somewhere over the face."""
    make = (_phone, _cup, _bottle, _book, _ball)[rng.integers(5)]
    thing = make(face, texture, rng, random_place(rng), rng.normal(0, 0.35))
    if rng.random() < 0.4:
        grip = hand(face, texture, rng)
        thing = composite_over(thing, grip) if rng.random() < 0.6 else composite_over(grip, thing)
    return thing


def box(width: float, height: float, round_by: float = 0.0) -> Points:
    """Return the outline (k,2) of a box around the origin with rounded corners.

    Args:
        width: Width of the box.
        height: Height of the box.
        round_by: Radius of the corners.
    """
    corners = []
    for x, y, start in ((1, -1, -90), (1, 1, 0), (-1, 1, 90), (-1, -1, 180)):
        middle = np.array([x * (width / 2 - round_by), y * (height / 2 - round_by)])
        angles = np.radians(np.linspace(start, start + 90, 6 if round_by else 1))
        corners.append(middle + round_by * np.stack([np.cos(angles), np.sin(angles)], -1))
    return np.concatenate(corners)


def _phone(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points, angle: float) -> Layer:
    width = rng.uniform(0.65, 0.95)
    height = width * rng.uniform(1.9, 2.2)
    outer, inner = box(width, height, 0.08), box(width * 0.92, height * 0.94, 0.06)
    body = solid_layer(random_colour(rng) * 0.5, fill_polygon(face.to_px(rotate(outer, angle) + at), face.size))
    if rng.random() < 0.5:
        screen = texture(face.size, rng) * rng.uniform(0.1, 1)
        return composite_over(body, Layer(screen, fill_polygon(face.to_px(rotate(inner, angle) + at), face.size)))
    lens = fill_polygon(
        face.to_px(rotate(box(0.2, 0.3, 0.08) + np.array([-width / 4, -height / 3]), angle) + at), face.size
    )
    return composite_over(body, solid_layer([18, 18, 22], lens))


def _cup(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points, angle: float) -> Layer:
    top, height = rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.2)
    bottom = top * rng.uniform(0.6, 1)
    bow = [np.array([np.sin(t) * w / 2, y + np.cos(t) * 0.06]) for w, y in ((bottom, height),) for t in _ARC]
    outline = np.array([[-top / 2, 0], [top / 2, 0], *bow])
    body = _shaded(face, texture, rng, face.to_px(rotate(outline, angle) + at), top)
    handle = box(0.35, 0.5, 0.15) + np.array([top / 2, height / 2])
    ring = fill_polygon(face.to_px(rotate(handle, angle) + at), face.size)
    ring -= fill_polygon(face.to_px(rotate(handle * 0.6 + handle.mean(0) * 0.4, angle) + at), face.size)
    return composite_over(solid_layer(random_colour(rng), np.clip(ring, 0, 1)), body)


_ARC = np.linspace(np.pi / 2, -np.pi / 2, 9)


def _bottle(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points, angle: float) -> Layer:
    wide = rng.uniform(0.2, 0.34)
    neck = wide * rng.uniform(0.3, 0.5)
    line = np.array([[0, 0], [0, 0.35], [0, 0.7], [0, 2.2]])
    places = face.to_px(rotate(line, angle) + at)
    radii = [r * face.unit for r in (neck, neck, wide, wide)]
    depth = tube_depth(places, radii, [(0, 1), (1, 2), (2, 3)], face.size).max(0)
    glass = rng.random() < 0.4
    rgb = texture(face.size, rng) if rng.random() < 0.5 else np.broadcast_to(random_colour(rng), (*depth.shape, 3))
    shade = shade_rounded(depth, wide * face.unit, rng)
    return Layer(
        np.asarray(rgb * shade[..., None], np.float32), coverage(depth) * (rng.uniform(0.5, 0.9) if glass else 1)
    )


def _book(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points, angle: float) -> Layer:
    outline = box(rng.uniform(0.8, 2), rng.uniform(0.6, 1.6)) + rng.normal(0, 0.06, (4, 2))
    cover = fill_polygon(face.to_px(rotate(outline, angle) + at), face.size)
    return Layer(texture(face.size, rng), cover)


def _ball(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points, angle: float) -> Layer:
    radius = rng.uniform(0.25, 0.7) * face.unit
    depth = tube_depth(face.to_px(np.array([at, at + 1e-3])), [radius, radius], [(0, 1)], face.size)[0]
    return Layer(texture(face.size, rng) * shade_rounded(depth, radius, rng)[..., None], coverage(depth))


def _shaded(face: FaceCanvas, texture: TextureSource, rng: Generator, outline: Points, width: float) -> Layer:
    """Cover an outline with a texture that turns away from the light to its sides."""
    alpha = fill_polygon(outline, face.size)
    across = (np.arange(face.size) - outline[:, 0].mean()) / (width * face.unit / 2)
    light = 1 - 0.45 * np.clip(np.abs(across - rng.uniform(-0.5, 0.5)), 0, 1.3) ** 2
    return Layer(np.asarray(texture(face.size, rng) * light[None, :, None], np.float32), alpha)


def instrument(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw one to three rods of some thickness, with keys or rings on them."""
    layer = solid_layer([0, 0, 0], np.zeros((face.size,) * 2, np.float32))
    for _ in range(int(rng.integers(1, 4))):
        angle, wide = rng.uniform(0, np.pi), rng.uniform(0.04, 0.12)
        start = rng.uniform(-2.5, 0.2)
        line = np.array([[0, start], [0, start + rng.uniform(1.8, 4)]])
        at = np.array([rng.normal(0, 0.35), rng.normal(0.55, 0.4)])
        depth = tube_depth(face.to_px(rotate(line, angle) + at), [wide * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = composite_over(
            layer, Layer(random_colour(rng) * shade_rounded(depth, wide * face.unit, rng)[..., None], coverage(depth))
        )
        heights = np.arange(line[0, 1], line[1, 1], rng.uniform(0.2, 0.5))
        keys = face.to_px(rotate(np.stack([0 * heights, heights], -1), angle) + at)
        links = [(i, i) for i in range(len(keys))]
        depth = tube_depth(keys, [wide * 1.3 * face.unit] * len(keys), links, face.size).max(0)
        layer = composite_over(
            layer, Layer(np.full(3, 190.0) * shade_rounded(depth, wide * face.unit, rng)[..., None], coverage(depth))
        )
    return layer


def microphone(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw a microphone in front of the mouth, its handle towards the lower rim."""
    at = np.array([rng.normal(0, 0.25), rng.normal(0.9, 0.2)])
    angle, wide = rng.normal(0, 0.7), rng.uniform(0.14, 0.3)
    handle = face.to_px(rotate(np.array([[0, 0.1], [0, 3.0]]), angle) + at)
    depth = tube_depth(handle, [0.6 * wide * face.unit, 0.45 * wide * face.unit], [(0, 1)], face.size)[0]
    body = Layer(
        random_colour(rng) * 0.5 * shade_rounded(depth, 0.5 * wide * face.unit, rng)[..., None], coverage(depth)
    )
    head = face.to_px(rotate(np.array([[0, -wide * rng.uniform(0, 0.8)], [0, 0.1]]), angle) + at)
    depth = tube_depth(head, [wide * face.unit] * 2, [(0, 1)], face.size)[0]
    y, x = np.mgrid[0 : face.size, 0 : face.size]
    pitch = max(2.0, 0.04 * face.unit)
    mesh = 1 + 0.25 * np.sin(2 * np.pi * (x + y) / pitch) * np.sin(2 * np.pi * (x - y) / pitch)
    grey = np.full(3, rng.uniform(20, 190), np.float32)
    rgb = grey * (mesh * shade_rounded(depth, wide * face.unit, rng))[..., None]
    return composite_over(body, Layer(rgb.astype(np.float32), coverage(depth)))


def shape(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
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
    alpha = fill_polygon(face.to_px(outline + random_place(rng)), face.size)
    if rng.random() < 0.2:
        alpha = alpha * rng.uniform(0.35, 0.9)
    return Layer(texture(face.size, rng), np.asarray(alpha, np.float32))
