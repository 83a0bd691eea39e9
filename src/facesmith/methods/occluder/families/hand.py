"""Hands: 21 joints with the proportions of an adult's, bent and turned, with skin like the face's or another's."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.random import Generator

from facesmith.methods.occluder.families.layer import (
    Face,
    Layer,
    Plane,
    Points,
    Surfaces,
    covered,
    rounded,
    tubes,
    turned,
)

# In palm lengths (wrist to the middle finger's knuckle): where each knuckle lies (degrees from the middle finger,
# distance from the wrist), and the lengths of the three bones that follow. Anthropometric means, Garrett 1971.
_KNUCKLES = ((44.0, 0.36), (13.0, 0.97), (0.0, 1.0), (-12.0, 0.94), (-25.0, 0.86))
_BONES = ((0.44, 0.34, 0.28), (0.47, 0.28, 0.22), (0.53, 0.33, 0.23), (0.49, 0.31, 0.23), (0.38, 0.22, 0.21))
_THICK = ((0.15, 0.125, 0.115, 0.09), *((0.115, 0.105, 0.095, 0.075),) * 3, (0.1, 0.09, 0.08, 0.065))
_THUMB_OUT = 22.0
_TONES = ((244, 208, 185), (224, 172, 140), (198, 134, 96), (141, 85, 54), (92, 56, 38), (60, 38, 28))
_WRIST, _ELBOW = 0.27, 0.36  # radii of the forearm


def hand(face: Face, surface: Surfaces, rng: Generator) -> Layer:
    """Draw a hand with its forearm, reaching for some place on the face."""
    bend, fan = _gesture(rng)
    joints, radii, links, fingers = _skeleton(bend, fan, rng)
    palm = rng.uniform(0.85, 1.25)  # of the eye distance: an adult's hand at the face's distance, or nearer
    joints *= [rng.choice([-1, 1]), 1]
    reach = rng.uniform(-1.9, 1.9)  # where the fingers point, in radians; 0 up the face
    goal = np.array([rng.normal(0, 0.35), rng.normal(0.55, 0.45)])
    touching = joints[rng.integers(1, 21)]
    places = face.to_px(turned(joints - touching, reach) * palm + goal)
    unit = face.unit * palm
    depth = tubes(places, [r * unit for r in radii], links, face.size)
    return _painted(face, depth, fingers, places, unit, rng)


def _gesture(rng: Generator) -> tuple[Points, float]:
    """Give how far each finger's joints are bent (5,3) in degrees, and how far the fingers are spread."""
    kind = rng.choice(["open", "relaxed", "fist", "point", "pinch"], p=[0.3, 0.3, 0.12, 0.16, 0.12])
    closed = np.array([[25, 30, 20], *([[75, 95, 60]] * 4)], float)
    loose = np.array([[10, 15, 10], *([[25, 30, 20]] * 4)], float)
    bend = {"open": loose * 0.2, "relaxed": loose, "fist": closed}.get(kind)
    if bend is None:
        bend = closed.copy()
        straight = [1] if kind == "point" else [0, 1]
        bend[straight] = loose[straight] * (0.2 if kind == "point" else 1.2)
    return bend + rng.normal(0, 6, (5, 3)), float(rng.uniform(0.6, 1.5) if kind == "open" else rng.uniform(0.3, 0.9))


def _skeleton(bend: Points, fan: float, rng: Generator) -> tuple[Points, list[float], list[tuple[int, int]], list[int]]:
    """Lay out wrist, 20 joints and elbow, fingers up: joints (22,2), their radii, the links, whose each link is."""
    joints: list[Points] = [np.zeros(2)]
    radii = [_WRIST]
    links: list[tuple[int, int]] = []
    whose: list[int] = []
    for finger, ((angle, far), bones) in enumerate(zip(_KNUCKLES, _BONES, strict=True)):
        at = _direction(angle) * far
        heading = angle * fan * (1.0 if finger else 0.8) + (_THUMB_OUT * fan if finger == 0 else 0)
        first = len(joints)
        joints.append(at)
        folded = 0.0
        for bone, flex in zip(bones, bend[finger], strict=True):
            folded += flex
            at = at + _direction(heading) * bone * np.cos(np.radians(folded))
            joints.append(at)
        radii += _THICK[finger]
        links += [(first + i, first + i + 1) for i in range(3)]
        whose += [finger] * 3
        links.append((0, first))
        whose.append(5)
    joints.append(_direction(180 + rng.uniform(-25, 25)) * 4)
    radii.append(_ELBOW)
    palm = [1, 5, 9, 13, 17]
    radii[0] = _WRIST
    links += [(a, b) for a, b in pairwise(palm[1:])] + [(0, 21)]
    whose += [5] * 3 + [6]
    return np.array(joints), radii, links, whose


def _direction(degrees: float) -> Points:
    return np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees))])


def _painted(face: Face, depth: Plane, whose: Sequence[int], places: Points, unit: float, rng: Generator) -> Layer:
    parts = np.stack([depth[[w == part for w in whose]].max(0) for part in range(7)])
    parts[5] += 0.02 * unit
    whole = parts.max(0)
    own = rng.random() < 0.6
    tone = face.skin() if own else np.array(_TONES[rng.integers(len(_TONES))], np.float32)
    colour = tone * rng.uniform(0.8, 1.15) * rng.normal(1, 0.03, 3)
    shade = rounded(whole, 0.11 * unit, rng, ambient=0.62)
    # Fingers that touch leave a dark line: there two of them are equally deep.
    order = np.sort(parts[:5], axis=0)
    crease = np.exp(-np.abs(order[-1] - order[-2]) / (0.018 * unit + 0.4)) * (order[-1] > -0.5) * (order[-2] > -1)
    shade = shade * (1 - 0.35 * crease)
    rough = cv2.GaussianBlur(rng.normal(0, 1, whole.shape).astype(np.float32), (0, 0), max(0.6, 0.02 * unit))
    rgb = colour * shade[..., None] + (rough * 6)[..., None]
    if rng.random() < 0.5:  # the back of the hand
        for tip in range(4, 21, 4):
            back = places[tip] - places[tip - 1]
            nail = places[tip] + 0.1 * back
            size = 0.055 * unit
            angle = float(np.degrees(np.arctan2(back[1], back[0])))
            plane = np.zeros(whole.shape, np.float32)
            at = (float(nail[0]), float(nail[1]))
            cv2.ellipse(plane, (at, (max(2 * size * 1.3, 1), max(2 * size * 0.9, 1)), angle), 1.0, -1, cv2.LINE_AA)
            rgb = rgb * (1 - 0.35 * plane[..., None]) + 0.35 * plane[..., None] * (colour * 0.7 + 70)
    if rng.random() < 0.4:  # a sleeve
        arm = parts[6] + 0.05 * unit
        along = np.linalg.norm(np.stack(np.meshgrid(*(np.arange(face.size),) * 2), -1) - places[0], axis=-1)
        cloth = covered(arm) * (along > rng.uniform(0.4, 1.2) * unit) * (parts[:6].max(0) < 0)
        fabric = rng.uniform(20, 230, 3).astype(np.float32) * rounded(arm, 0.3 * unit, rng)[..., None]
        rgb = rgb * (1 - cloth[..., None]) + fabric * cloth[..., None]
        return Layer(rgb.astype(np.float32), np.maximum(covered(whole), cloth), own)
    return Layer(rgb.astype(np.float32), covered(whole), own)
