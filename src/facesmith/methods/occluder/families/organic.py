"""Occluder families of soft and grown things: hands, hair, foliage, food, cloth."""

from collections.abc import Sequence
from itertools import pairwise

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
    coverage,
    draw_stroke,
    fill_polygon,
    random_colour,
    rotate,
    shade_rounded,
    skin_detail,
    solid_layer,
    tube_depth,
)
from facesmith.methods.occluder.families.skin import photographed_hand

# Hands: 21 joints with the proportions of an adult's, bent and turned, in skin like the face's or another's.
# In palm lengths (wrist to the middle finger's knuckle): where each knuckle lies (degrees from the middle finger,
# distance from the wrist), and the lengths of the three bones that follow. Anthropometric means, Garrett 1971.
_KNUCKLES = ((44.0, 0.36), (13.0, 0.97), (0.0, 1.0), (-12.0, 0.94), (-25.0, 0.86))
_BONE_LENGTHS = ((0.44, 0.34, 0.28), (0.47, 0.28, 0.22), (0.53, 0.33, 0.23), (0.49, 0.31, 0.23), (0.38, 0.22, 0.21))
_FINGER_RADII = ((0.15, 0.125, 0.115, 0.09), *((0.115, 0.105, 0.095, 0.075),) * 3, (0.1, 0.09, 0.08, 0.065))
_THUMB_OUT = 22.0
_SKIN_TONES = ((244, 208, 185), (224, 172, 140), (198, 134, 96), (141, 85, 54), (92, 56, 38), (60, 38, 28))
_FINGERTIPS = (4, 8, 12, 16, 20)
_WRIST, _ELBOW = 0.27, 0.36  # radii of the forearm
_PHOTOGRAPHED = 0.5  # share of hands that are cut out of pictures


def hand(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw a hand with its forearm, reaching for some place on the face, or paste a photographed one."""
    if rng.random() < _PHOTOGRAPHED:
        return photographed_hand(face, texture.hand(rng), rng)
    bend, fan = _gesture(rng)
    joints, radii, links, fingers = _skeleton(bend, fan, rng)
    palm = rng.uniform(0.85, 1.25)  # of the eye distance: an adult's hand at the face's distance, or nearer
    joints *= [rng.choice([-1, 1]), 1]
    reach = rng.uniform(-1.9, 1.9)  # where the fingers point, in radians; 0 up the face
    goal = np.array([rng.normal(0, 0.35), rng.normal(0.55, 0.45)])
    # mostly a fingertip lies on the face: the part that is hardest to tell from it
    touching = joints[rng.choice(_FINGERTIPS) if rng.random() < 0.6 else rng.integers(1, 21)]
    places = face.to_px(rotate(joints - touching, reach) * palm + goal)
    unit = face.unit * palm
    depth = tube_depth(places, [r * unit for r in radii], links, face.size)
    return _shade_hand(face, depth, fingers, places, unit, rng)


def _gesture(rng: Generator) -> tuple[Points, float]:
    """Return the bend of each finger's joints (5,3) in degrees, and the spread of the fingers."""
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
    """Place wrist, 20 joints and elbow, fingers up: joints (22,2), their radii, the links, whose each link is."""
    joints: list[Points] = [np.zeros(2)]
    radii = [_WRIST]
    links: list[tuple[int, int]] = []
    whose: list[int] = []
    for finger, ((angle, far), bones) in enumerate(zip(_KNUCKLES, _BONE_LENGTHS, strict=True)):
        at = _direction(angle) * far
        heading = angle * fan * (1.0 if finger else 0.8) + (_THUMB_OUT * fan if finger == 0 else 0)
        first = len(joints)
        joints.append(at)
        folded = 0.0
        for bone, flex in zip(bones, bend[finger], strict=True):
            folded += flex
            at = at + _direction(heading) * bone * np.cos(np.radians(folded))
            joints.append(at)
        radii += _FINGER_RADII[finger]
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


def _shade_hand(
    face: FaceCanvas, depth: Plane, whose: Sequence[int], places: Points, unit: float, rng: Generator
) -> Layer:
    parts = np.stack([depth[[w == part for w in whose]].max(0) for part in range(7)])
    parts[5] += 0.02 * unit
    whole = parts.max(0)
    own = rng.random() < 0.75
    tone = face.skin_colour() if own else np.array(_SKIN_TONES[rng.integers(len(_SKIN_TONES))], np.float32)
    colour = tone * rng.uniform(0.8, 1.15) * rng.normal(1, 0.03, 3)
    shade = shade_rounded(whole, 0.11 * unit, rng, ambient=0.62)
    # Fingers that touch leave a dark line: there two of them are equally deep.
    order = np.sort(parts[:5], axis=0)
    crease = np.exp(-np.abs(order[-1] - order[-2]) / (0.018 * unit + 0.4)) * (order[-1] > -0.5) * (order[-2] > -1)
    shade = shade * (1 - 0.35 * crease)
    rough = cv2.GaussianBlur(rng.normal(0, 1, whole.shape).astype(np.float32), (0, 0), max(0.6, 0.02 * unit))
    rgb = colour * shade[..., None] + (rough * 6)[..., None]
    if rng.random() < 0.6:
        rgb = rgb * skin_detail(face, rng)
    if rng.random() < 0.6:  # the back of the hand
        varnish = random_colour(rng) if rng.random() < 0.45 else None
        share = 0.35 if varnish is None else 0.85
        nail_colour = colour * 0.7 + 70 if varnish is None else varnish
        long = 1.0 if varnish is None else rng.uniform(1, 1.5)
        for tip in _FINGERTIPS:
            back = places[tip] - places[tip - 1]
            nail = places[tip] + 0.1 * back
            size = long * 0.055 * unit
            angle = float(np.degrees(np.arctan2(back[1], back[0])))
            plane = np.zeros(whole.shape, np.float32)
            at = (float(nail[0]), float(nail[1]))
            cv2.ellipse(plane, (at, (max(2 * size * 1.3, 1), max(2 * size * 0.9, 1)), angle), 1.0, -1, cv2.LINE_AA)
            rgb = rgb * (1 - share * plane[..., None]) + share * plane[..., None] * nail_colour
            whole = np.where(plane > 0.5, np.maximum(whole, 0.5), whole)  # a nail may reach beyond the finger
    if rng.random() < 0.4:  # a sleeve
        arm = parts[6] + 0.05 * unit
        along = np.linalg.norm(np.stack(np.meshgrid(*(np.arange(face.size),) * 2), -1) - places[0], axis=-1)
        cloth = coverage(arm) * (along > rng.uniform(0.4, 1.2) * unit) * (parts[:6].max(0) < 0)
        fabric = rng.uniform(20, 230, 3).astype(np.float32) * shade_rounded(arm, 0.3 * unit, rng)[..., None]
        rgb = rgb * (1 - cloth[..., None]) + fabric * cloth[..., None]
        return Layer(rgb.astype(np.float32), np.maximum(coverage(whole), cloth), own)
    return Layer(rgb.astype(np.float32), coverage(whole), own)


_HAIR_COLOURS = (
    (24, 18, 15),
    (62, 42, 28),
    (110, 74, 44),
    (170, 128, 78),
    (214, 184, 130),
    (150, 70, 36),
    (190, 188, 186),
)
_T = np.linspace(0, 1, 14)
_BEZIER = np.stack([(1 - _T) ** 2, 2 * _T * (1 - _T), _T**2], -1)


def hair(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw one to four locks, each of many strands, from above or from a side."""
    colour = np.array(_HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))], np.float32) * rng.uniform(0.8, 1.2)
    strands = np.zeros((face.size, face.size, 4), np.uint8)  # colour times coverage, and coverage
    for _ in range(int(rng.integers(1, 5))):
        side = rng.choice([-1.0, 1.0])
        root = np.array([side * rng.uniform(0, 0.9), rng.uniform(-1.3, -0.6)])
        tip = np.array([side * rng.uniform(0.1, 1.0) + rng.normal(0, 0.3), rng.uniform(-0.2, 1.8)])
        pull = (root + tip) / 2 + rng.normal(0, 0.35, 2)
        ends = _lock(np.stack([root, pull, tip]), int(rng.integers(12, 60)), rng)
        curves = face.to_px(np.einsum("tk,nkc->ntc", _BEZIER, ends))
        thick = max(1, round(rng.uniform(0.006, 0.02) * face.unit))
        for curve in np.rint(curves * 16).astype(np.int32):
            tone = [*np.clip(colour * rng.uniform(0.6, 1.5), 0, 255).tolist(), 255]
            cv2.polylines(strands, [curve], False, tone, thick, cv2.LINE_AA, 4)
    alpha = np.asarray(strands[..., 3] / 255, np.float32)
    shine = 1 + 2 * cv2.GaussianBlur(rng.normal(0, 1, alpha.shape).astype(np.float32), (0, 0), 0.2 * face.unit)
    rgb = strands[..., :3] / np.maximum(alpha, 1 / 255)[..., None] * shine[..., None]
    return Layer(np.asarray(np.clip(rgb, 0, 255), np.float32), np.asarray(alpha, np.float32))


def _lock(course: Points, count: int, rng: Generator) -> Points:
    """Place strands (count,3,2) side by side along a course (3,2): they keep their place in the lock, a few stray."""
    along = course[-1] - course[0]
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    width = rng.uniform(0.04, 0.22) * np.array([rng.uniform(0.5, 1), 1, rng.uniform(0.2, 1.3)])
    beside = rng.normal(0, 1, (count, 1, 1)) * width[:, None] * across
    stray = np.where(rng.random((count, 1, 1)) < 0.1, 0.2, 0.02)
    return course + beside + rng.normal(0, 1, (count, 3, 2)) * stray


def foliage(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw a twig with leaves that reaches in from a rim."""
    t = np.linspace(0, 1, 12)[:, None]
    bow = rng.normal(0, 0.5)
    line = np.concatenate([bow * t * (1 - t) * 4, -2.6 + 3.2 * t], axis=1)
    line = rotate(line, rng.uniform(0, 2 * np.pi)) + np.array([rng.normal(0, 0.4), rng.normal(0.4, 0.4)])
    layer = solid_layer([84, 60, 38], draw_stroke(face.to_px(line), face.size, 0.05 * face.unit))
    green = np.array([rng.uniform(40, 150), rng.uniform(90, 180), rng.uniform(20, 80)], np.float32)
    width = np.sin(np.linspace(0, np.pi, 9)) * rng.uniform(0.08, 0.2)
    length = np.linspace(0, rng.uniform(0.4, 0.9), 9)
    leaf = np.concatenate([np.stack([width, -length], -1), np.stack([-width, -length], -1)[::-1]])
    for place in line[rng.integers(2, 12, int(rng.integers(4, 11)))]:
        outline = rotate(leaf, rng.uniform(0, 2 * np.pi)) + place
        relief = 0.75 + 0.25 * texture(face.size, rng).mean(-1, keepdims=True) / 128
        one = Layer(
            np.asarray(green * rng.uniform(0.7, 1.3) * relief, np.float32), fill_polygon(face.to_px(outline), face.size)
        )
        layer = composite_over(layer, one)
    return layer


_FOOD_COLOURS = (
    (214, 48, 40),
    (236, 140, 40),
    (244, 208, 70),
    (140, 180, 60),
    (120, 70, 40),
    (222, 178, 120),
    (250, 236, 214),
)


def food(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw something to eat near the mouth."""
    at = np.array([rng.normal(0, 0.2), rng.normal(0.85, 0.15)])
    return (_cutlery, _banana, _cone, _roll, _slice)[rng.integers(5)](face, texture, rng, at)


def _food_colour(rng: Generator) -> Points:
    return np.array(_FOOD_COLOURS[rng.integers(len(_FOOD_COLOURS))], np.float32) * rng.uniform(0.8, 1.1, 3)


def _cutlery(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points) -> Layer:
    angle = rng.uniform(-1.9, 1.9)
    metal = np.full(3, rng.uniform(120, 220))
    handle = face.to_px(rotate(np.array([[0, 0.0], [0, 0.35], [0, 2.2]]), angle) + at)
    depth = tube_depth(handle, [0.04 * face.unit] * 2 + [0.07 * face.unit], [(0, 1), (1, 2)], face.size).max(0)
    grip = Layer(metal * shade_rounded(depth, 0.06 * face.unit, rng)[..., None], coverage(depth))
    if rng.random() < 0.5:
        bowl = face.to_px(rotate(np.array([[0, -0.18], [0, 0.12]]), angle) + at)
        depth = tube_depth(bowl, [0.13 * face.unit, 0.14 * face.unit], [(0, 1)], face.size)[0]
        head = Layer(metal * shade_rounded(depth, 0.14 * face.unit, rng)[..., None], coverage(depth))
    else:
        head = solid_layer(metal, np.zeros((face.size,) * 2, np.float32))
        for x in (-0.09, -0.03, 0.03, 0.09):
            prong = face.to_px(rotate(np.array([[x, -0.35], [x, 0.0], [0, 0.15]]), angle) + at)
            head = composite_over(head, solid_layer(metal, draw_stroke(prong, face.size, 0.035 * face.unit)))
    bite = face.to_px(np.array([at, at + 0.01]))
    depth = tube_depth(bite, [rng.uniform(0.08, 0.22) * face.unit] * 2, [(0, 1)], face.size)[0]
    return composite_over(
        composite_over(grip, head),
        Layer(_food_colour(rng) * shade_rounded(depth, 0.15 * face.unit, rng)[..., None], coverage(depth)),
    )


def _banana(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points) -> Layer:
    bow, angle = rng.uniform(-0.5, 0.5), rng.uniform(-1.5, 1.5)
    t = np.linspace(0, 1, 7)
    line = face.to_px(rotate(np.stack([bow * 4 * t * (1 - t), t * rng.uniform(1, 1.9)], -1), angle) + at)
    thick = rng.uniform(0.1, 0.22) * face.unit
    radii = thick * (0.4 + 0.6 * np.sin(np.pi * np.clip(t, 0.12, 0.9)))
    depth = tube_depth(line, radii.tolist(), [(i, i + 1) for i in range(6)], face.size).max(0)
    return Layer(_food_colour(rng) * shade_rounded(depth, thick, rng)[..., None], coverage(depth))


def _cone(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points) -> Layer:
    angle = rng.normal(0, 0.4)
    wafer = fill_polygon(face.to_px(rotate(np.array([[-0.28, 0.1], [0.28, 0.1], [0.0, 1.3]]), angle) + at), face.size)
    layer = Layer(texture(face.size, rng) * 0.4 + np.array([200, 150, 90], np.float32) * 0.6, wafer)
    for x, y in ((-0.12, -0.05), (0.14, -0.02), (0.0, -0.3))[: rng.integers(1, 4)]:
        place = face.to_px(rotate(np.array([[x, y], [x, y + 0.01]]), angle) + at)
        depth = tube_depth(place, [0.26 * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = composite_over(
            layer, Layer(_food_colour(rng) * shade_rounded(depth, 0.26 * face.unit, rng)[..., None], coverage(depth))
        )
    return layer


def _roll(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points) -> Layer:
    layer = solid_layer([0, 0, 0], np.zeros((face.size,) * 2, np.float32))
    wide, angle = rng.uniform(0.3, 0.6), rng.normal(0, 0.3)
    for y in np.linspace(-0.25, 0.25, int(rng.integers(2, 5))):
        line = face.to_px(rotate(np.array([[-wide, y], [wide, y]]), angle) + at)
        thick = rng.uniform(0.08, 0.2) * face.unit
        depth = tube_depth(line, [thick, thick], [(0, 1)], face.size)[0]
        rgb = _food_colour(rng) * shade_rounded(depth, thick, rng)[..., None] * 0.8 + texture(face.size, rng) * 0.2
        layer = composite_over(layer, Layer(rgb.astype(np.float32), coverage(depth)))
    return layer


def _slice(face: FaceCanvas, texture: TextureSource, rng: Generator, at: Points) -> Layer:
    angle, size = rng.uniform(-3, 3), rng.uniform(0.7, 1.3)
    outline = np.array([[0, 0], [-0.35, 1.0], [-0.15, 1.08], [0.15, 1.08], [0.35, 1.0]]) * size
    layer = Layer(
        texture(face.size, rng) * 0.3 + _food_colour(rng) * 0.7,
        fill_polygon(face.to_px(rotate(outline, angle) + at), face.size),
    )
    for x, y in rng.uniform([-0.2, 0.3], [0.2, 0.9], (int(rng.integers(0, 5)), 2)) * size:
        spot = face.to_px(rotate(np.array([[x, y], [x, y + 0.01]]), angle) + at)
        depth = tube_depth(spot, [0.08 * face.unit] * 2, [(0, 1)], face.size)[0]
        layer = composite_over(layer, solid_layer(random_colour(rng), coverage(depth) * layer.alpha))
    return layer


_CHEEK_TO_CHEEK = topology.OVAL[9:28]  # the oval's lower half, from one ear to the other
_NOSE_RIDGE = (6, 197, 195, 5, 4)


def cloth(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    """Draw cloth with folds."""
    return (_scarf, _mask, _hanging)[rng.integers(3)](face, texture, rng)


def _fold_shading(face: FaceCanvas, rng: Generator) -> Plane:
    y, x = np.mgrid[0 : face.size, 0 : face.size] / face.unit
    shade = np.ones((face.size, face.size))
    for _ in range(3):
        angle, count = rng.uniform(0, np.pi), rng.uniform(2, 9)
        wave = np.sin(count * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6) + np.sin(2 * y))
        shade += rng.uniform(0.04, 0.16) * wave
    return shade.astype(np.float32)


def _drape(face: FaceCanvas, texture: TextureSource, rng: Generator, alpha: Plane) -> Layer:
    return Layer(
        np.clip(texture(face.size, rng) * _fold_shading(face, rng)[..., None], 0, 255).astype(np.float32), alpha
    )


def _random_wave(rng: Generator, count: int, rough: float) -> np.ndarray:
    t = np.linspace(-1, 1, count)
    return sum(rng.normal(0, rough / k) * np.sin(k * 2 * t + rng.uniform(0, 6)) for k in range(1, 5)) + 0 * t


def _scarf(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    x = np.linspace(-2.2, 2.2, 24)
    top = rng.uniform(0.45, 1.15) + 0.12 * x**2 * rng.uniform(-1, 1) + _random_wave(rng, 24, 0.1)
    outline = np.concatenate([np.stack([x, top], -1), [[2.2, 4], [-2.2, 4]]])
    return _drape(face, texture, rng, fill_polygon(face.to_px(rotate(outline, rng.normal(0, 0.12))), face.size))


def _mask(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    points = face.landmarks[:, :2]
    jaw = points[_CHEEK_TO_CHEEK] * 1.0
    middle = jaw.mean(0)
    jaw = middle + (jaw - middle) * rng.uniform(0.95, 1.1)
    bridge = points[_NOSE_RIDGE[rng.integers(len(_NOSE_RIDGE))]]
    start, end = (int(rng.integers(0, 4)), len(jaw) - int(rng.integers(0, 4)))
    side = jaw[start:end]
    outline = np.concatenate([side, [(side[-1] + bridge) / 2], [bridge], [(side[0] + bridge) / 2]])
    alpha = fill_polygon(outline, face.size)
    for corner, out in ((side[0], 1), (side[-1], -1)):
        band = np.stack([corner, corner + np.array([out * 0.9, -0.5]) * face.unit])
        alpha = np.maximum(alpha, draw_stroke(band, face.size, 0.03 * face.unit))
    return _drape(face, texture, rng, alpha)


def _hanging(face: FaceCanvas, texture: TextureSource, rng: Generator) -> Layer:
    edge = np.linspace(-2.5, 3.5, 24)
    inner = rng.uniform(-0.1, 0.75) + _random_wave(rng, 24, 0.12)
    outline = np.concatenate([np.stack([inner, edge], -1), [[4, 3.5], [4, -2.5]]])
    angle = rng.choice([0, np.pi / 2, np.pi, -np.pi / 2], p=[0.35, 0.05, 0.35, 0.25]) + rng.normal(0, 0.3)
    return _drape(face, texture, rng, fill_polygon(face.to_px(rotate(outline, angle) + np.array([0, 0.4])), face.size))
