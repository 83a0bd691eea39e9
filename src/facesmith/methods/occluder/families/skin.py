"""Occluders of bare skin: limbs and fingers, photographed hands, another head. Edges and shading tell them apart."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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


def photographed_hand(face: FaceCanvas, cut: NDArray[np.uint8], rng: Generator) -> Layer:
    """Lay a photographed hand over the face, mostly with a fingertip on it, mostly in a skin like the face's.

    Args:
        face: The face to draw over.
        cut: (h,w,4) RGBA uint8.
        rng: Source of everything random.
    """
    height, width = cut.shape[:2]
    solid = cut[..., 3] > 127
    edge = cv2.convexHull(np.argwhere(solid)[:, ::-1].astype(np.int32))[:, 0]
    inner = edge[((edge > 3) & (edge < [width - 4, height - 4])).all(1)]  # not where the picture's edge cut it
    anchor = inner[rng.integers(len(inner))] if len(inner) and rng.random() < 0.7 else edge.mean(0)
    scale = rng.uniform(1.1, 2.4) * face.unit / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.array([[rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 1.2), rng.normal(0, 0.15)], [0, 1]])
    goal = face.to_px(np.array([rng.normal(0, 0.35), rng.normal(0.6, 0.4)]))
    matrix = np.concatenate([turn, (goal - turn @ anchor)[:, None]], 1)
    alpha = cut[..., 3:].astype(np.float32) / 255
    colours = cut[..., :3].astype(np.float32)
    if rng.random() < 0.75:
        skin = np.median(colours[solid], axis=0)
        tone = face.skin_colour() * rng.uniform(0.65, 1.3) * rng.normal(1, 0.05, 3)
        colours = np.asarray((colours / np.maximum(skin, 8)) ** rng.uniform(0.7, 1.2) * tone, np.float32)
    rgba = np.dstack([colours * alpha, alpha]).astype(np.float32)
    if scale < 1:
        rgba = np.asarray(cv2.GaussianBlur(rgba, (0, 0), 0.35 / scale), np.float32)
    size = (face.size, face.size)
    moved = cv2.warpAffine(rgba, matrix, size, flags=cv2.INTER_LINEAR)
    plane = np.clip(moved[..., 3], 0, 1)
    rgb = moved[..., :3] / np.maximum(plane, 1e-3)[..., None]
    axis = (np.arange(face.size) - face.size / 2) / face.unit
    away = rng.uniform(0, 2 * np.pi)
    light = np.exp(rng.uniform(0, 0.5) * np.add.outer(axis * np.sin(away), axis * np.cos(away)))
    return Layer(np.asarray(np.clip(rgb * light[..., None], 0, 255), np.float32), plane.astype(np.float32), True)


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
