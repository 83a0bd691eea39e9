"""Occluder families of spectacles: clear ones, of which the rims alone hide the face, and sunglasses."""

import cv2
import numpy as np
from numpy.random import Generator

from facesmith.faces.geometry import topology
from facesmith.methods.occluder.families.drawing import (
    FaceCanvas,
    Layer,
    Plane,
    Points,
    TextureSource,
    composite_over,
    draw_stroke,
    fill_polygon,
    random_colour,
    solid_layer,
)
from facesmith.methods.occluder.families.objects import box

_METALS = ((196, 196, 200), (128, 128, 134), (206, 172, 96), (150, 104, 74), (58, 58, 62))
_DARK = ((22, 20, 20), (46, 30, 22), (80, 52, 34), (28, 34, 52))
_RIM = (0.012, 0.07)  # of the eye distance: wire, thick plastic
_LEAST_HIDDEN = 1.8  # px at 128: as wide as this a rim is left out of a face, however thin it is


def glasses(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw glasses with clear lenses."""
    lenses = _lenses(face, rng)
    return composite_over(_reflections(face, rng, lenses), _frame(face, rng, lenses))


def sunglasses(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw glasses with dark or mirroring lenses, some of which let the eyes shine through."""
    lenses = _lenses(face, rng)
    dark = np.max([fill_polygon(lens, face.size) for lens in lenses], axis=0)
    clear = rng.uniform(0.55, 0.85) if rng.random() < 0.3 else rng.uniform(0.92, 1)
    tint = random_colour(rng) * rng.uniform(0.05, 0.4)
    fall = np.linspace(0.7, 1.4, face.size, dtype=np.float32)[:, None, None]
    rgb = np.broadcast_to(tint * fall, (face.size, face.size, 3))
    if rng.random() < 0.5:
        mirrored = cv2.GaussianBlur(texture(face.size, rng), (0, 0), 0.08 * face.unit)
        rgb = rgb * 0.6 + mirrored * rng.uniform(0.1, 0.5)
    return composite_over(Layer(np.asarray(rgb, np.float32), dark * clear), _frame(face, rng, lenses))


def _lenses(face: FaceCanvas, rng: Generator) -> list[Points]:
    """Return the outlines of the two lenses (k,2) in px, around the eyes as they lie in the picture."""
    width, height = rng.uniform(0.42, 0.68), rng.uniform(0.28, 0.56)
    outline = box(width, height, min(width, height) * rng.uniform(0.15, 0.5))
    outline[:, 0] *= 1 - rng.uniform(-0.1, 0.3) * outline[:, 1] / height  # wider towards the brows
    drop = rng.uniform(-0.05, 0.1)
    lenses = []
    for eye in (topology.LEFT_EYE, topology.RIGHT_EYE):
        middle = face.landmarks[eye, :2].mean(0)
        lenses.append(face.to_px(outline + np.array([0, drop])) - face.to_px(np.zeros(2)) + middle)
    return lenses


def _reflections(face: FaceCanvas, rng: Generator, lenses: list[Points]) -> Layer:
    """Draw what clear lenses reflect: nothing, a tint, a bright band; the eyes are still seen."""
    size = face.size
    alpha: Plane = np.zeros((size, size), np.float32)
    if rng.random() < 0.5:
        y, x = np.mgrid[0:size, 0:size] / face.unit
        angle, place, width = rng.uniform(0, np.pi), rng.uniform(0, 1), rng.uniform(0.05, 0.3)
        along = (x * np.cos(angle) + y * np.sin(angle) - place) % rng.uniform(0.7, 1.4)
        band = np.exp(-((along / width - 0.5) ** 4)) * rng.uniform(0.1, 0.45)
        within = np.max([fill_polygon(lens, size) for lens in lenses], axis=0)
        alpha = np.asarray(within * (band + rng.choice([0.0, 0.08])), np.float32)
    return solid_layer(np.clip(random_colour(rng) * 0.3 + 180, 0, 255), alpha)


def _frame(face: FaceCanvas, rng: Generator, lenses: list[Points]) -> Layer:
    thick = float(np.exp(rng.uniform(*np.log(_RIM)))) * face.unit
    wide = max(_LEAST_HIDDEN * face.size / 128, thick + 0.5 * face.size / 128)
    middle = face.to_px(np.zeros(2))
    face_across, face_down = (face.to_px(np.array(axis)) - middle for axis in ((1.0, 0.0), (0.0, 1.0)))
    alpha: Plane = np.zeros((face.size, face.size), np.float32)
    hides = alpha.copy()
    kind = rng.random()
    for lens in lenses:
        upper = lens[lens @ face_down < lens.mean(0) @ face_down]
        upper = upper[np.argsort(upper @ face_across)]
        rim, share = np.concatenate([lens, lens[:2]]), 1.0
        if kind < 0.15:  # below there is none
            rim = upper
        elif kind < 0.25:  # bare glass
            share = 0.3
        alpha = np.maximum(alpha, share * draw_stroke(rim, face.size, thick))
        hides = np.maximum(hides, draw_stroke(rim, face.size, wide))
        if kind > 0.7:  # heavier along the brows
            heavy = thick * rng.uniform(1.3, 2.5)
            alpha = np.maximum(alpha, draw_stroke(upper, face.size, heavy))
            hides = np.maximum(hides, draw_stroke(upper, face.size, max(heavy, wide)))
    left, right = (lens.mean(0) for lens in lenses)
    reach = [np.ptp(lens @ ((right - left) / np.linalg.norm(right - left))) / 2 for lens in lenses]
    along = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
    up = np.array([along[1], -along[0]]) * 0.06 * face.unit
    for start, end in (
        (left + along * reach[0] + up, right - along * reach[1] + up),
        (left - along * reach[0] + up, left - along * (reach[0] + 0.8 * face.unit) + up),
        (right + along * reach[1] + up, right + along * (reach[1] + 0.8 * face.unit) + up),
    ):
        alpha = np.maximum(alpha, draw_stroke(np.stack([start, end]), face.size, thick))
        hides = np.maximum(hides, draw_stroke(np.stack([start, end]), face.size, wide))
    tones = (_METALS, _DARK)[rng.integers(2)]
    tone = np.array(tones[rng.integers(len(tones))], np.float32) * rng.uniform(0.7, 1.2)
    colour = tone if rng.random() < 0.7 else random_colour(rng) * rng.uniform(0.1, 1)
    gleam = cv2.GaussianBlur(rng.normal(0, 1, alpha.shape).astype(np.float32), (0, 0), 0.08 * face.unit)
    rgb = colour * (1 + rng.uniform(0, 0.5) * gleam / max(float(gleam.std()), 1e-6))[..., None]
    return Layer(np.asarray(np.clip(rgb, 0, 255), np.float32), alpha, hides=hides)
