"""Occluder families of bare skin: limbs and fingers, and another head. Edges and shading alone tell them apart."""

import cv2
import numpy as np
from numpy.random import Generator

from facesmith.faces.geometry import topology
from facesmith.faces.geometry.masks import draw_hull
from facesmith.methods.occluder.families.drawing import (
    FaceCanvas,
    Layer,
    TextureSource,
    coverage,
    random_place,
    rotate,
    shade_rounded,
    skin_detail,
    tube_depth,
)

_RADII = (0.055, 0.7)  # of the eye distance: a finger's, a shoulder's
_FINGER = 0.16


def limb(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw a bare arm, or up to four fingers side by side, that reach over the face, in its own skin or another's."""
    radius = float(np.exp(rng.uniform(*np.log(_RADII)))) * face.unit
    count = int(rng.integers(1, 5)) if radius < _FINGER * face.unit else 1
    line = np.stack([np.zeros(4), np.linspace(0, 4, 4)], 1) + rng.normal(0, 0.3, (4, 2)) * [[1], [0.5], [0.2], [0]]
    angle, place = rng.uniform(0, 2 * np.pi), random_place(rng)
    depths = []
    for number in range(count):
        beside = np.array([number * 1.9 * radius / face.unit, rng.normal(0, 1.2 * radius / face.unit)])
        ends = face.to_px(rotate(line + beside, angle) + place)
        radii = list(radius * rng.uniform(0.85, 1.2, 4))
        depths.append(tube_depth(ends, radii, [(0, 1), (1, 2), (2, 3)], face.size).max(0))
    depth = np.max(depths, axis=0)
    tone = face.skin_colour() * rng.uniform(0.6, 1.3) * rng.normal(1, 0.05, 3)
    shade = shade_rounded(depth, radius, rng, ambient=rng.uniform(0.45, 0.9))
    rgb = tone * shade[..., None] * skin_detail(face, rng)
    return Layer(np.asarray(np.clip(rgb, 0, 255), np.float32), coverage(depth), True)


def head(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw the face again, turned, mirrored, of another size and tone, as somebody who leans before it."""
    size = face.size
    middle = face.landmarks[topology.OVAL, :2].mean(0)
    angle, scale = rng.normal(0, 0.6), rng.uniform(0.75, 1.7)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        turn = turn @ np.diag([-1.0, 1.0])
    away = rng.uniform(0, 2 * np.pi)
    shift = face.unit * (0.75 + 0.8 * scale * rng.uniform(0.5, 1)) * np.array([np.cos(away), np.sin(away)])
    matrix = np.concatenate([turn, (middle + shift - turn @ middle)[:, None]], 1)
    moved = cv2.warpAffine(face.picture, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    outline = face.landmarks[: topology.MESH, :2]
    grown = middle + (outline - middle) * rng.uniform(1.0, 1.5) * np.array([1, rng.uniform(1, 1.15)])
    plane = draw_hull(grown @ turn.T + matrix[:, 2], size)
    gain = rng.uniform(0.6, 1.4) * rng.normal(1, 0.06, 3)
    return Layer(np.asarray(np.clip(moved * gain, 0, 255), np.float32), plane, True)
