"""Many faces from a few: faces exchanged between heads, other proportions, other skin, other light, beards, make-up."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facesmith.faces.geometry import colour, masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample
from facesmith.methods.occluder.dataset import LabelledFaces

Floats = NDArray[np.float32]

_SMOOTHING: Final = 1e-3
_NODES: Final = 6  # of the grid whose displacement changes proportions
_JAW: Final = slice(9, 28)  # of the oval, from ear to ear
_MOUSTACHE: Final = [132, 205, 49, 2, 279, 425, 361]  # across the cheeks, below the nose
_STRETCH: Final = 0.028  # standard deviation of that displacement, of the side


class FaceVariations:
    """Make new faces of given ones, with their masks and landmarks.

    Args:
        labelled: The faces and their masks.
        groups: Which person each is, (N,) of any values: people are drawn evenly, however many pictures they have.
        exchange: Share of the new faces that wear another person's face.
    """

    def __init__(self, labelled: LabelledFaces, groups: NDArray[Any], exchange: float) -> None:
        self._labelled, self._exchange = labelled, exchange
        self._rows = [np.flatnonzero(groups == group) for group in dict.fromkeys(groups.tolist())]

    def make(self, count: int, seed: int) -> LabelledFaces:
        """Make new faces.

        Args:
            count: How many.
            seed: Of everything random; the i-th face is a function of it and i alone.

        Returns:
            Faces like the given ones.
        """
        made = [self._make_one(np.random.default_rng([seed, number])) for number in range(count)]
        images, labels, landmarks = (np.stack(part) for part in zip(*made, strict=True))
        shapes = np.zeros((count, len(topology.BLENDSHAPES)), np.float32)
        faces = AlignedFaces(images, landmarks, shapes, self._labelled.faces.template)
        return LabelledFaces(faces, labels)

    def _make_one(self, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Floats]:
        faces, labels = self._labelled.faces, self._labelled.masks
        row = self._draw_row(rng)
        image, label, landmarks = faces.images[row].astype(np.float32), labels[row] / 255.0, faces.landmarks[row]
        if rng.random() < self._exchange and len(self._rows) > 1:
            image = self._wear(row, rng)
        image = _change_skin(image, label, landmarks, rng)
        image, label, landmarks = _stretch(image, label, landmarks, rng)
        image = _light(image, rng)
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return pixels, np.rint(np.clip(label, 0, 1) * 255).astype(np.uint8), landmarks

    def _draw_row(self, rng: Generator) -> int:
        return int(rng.choice(self._rows[rng.integers(len(self._rows))]))

    def _wear(self, row: int, rng: Generator) -> Floats:
        """Return the head of a row with another's face: where both are visible."""
        faces, labels = self._labelled.faces, self._labelled.masks
        other = self._draw_row(rng)
        target, size = faces.landmarks[row], faces.size
        (where,) = compute_warp_maps(target, faces.landmarks[other][None], size, smoothing=_SMOOTHING)
        warped = resample(faces.images[other], where)
        seen = cv2.remap(labels[other], where[..., 0], where[..., 1], cv2.INTER_LINEAR) / 255
        core = masks.skin_mask(target, size) * (seen > 0.5) * (labels[row] > 127)
        head = faces.images[row].astype(np.float32)
        if core.sum() < 0.02 * size**2:
            return head
        matched = colour.match_colour(warped, head, core, float(rng.uniform(0, 0.6)), size * 0.09)
        if rng.random() < 0.25:  # eyes and mouth alone
            parts = masks.eyes_and_mouth_masks(target, size)
            share = np.max(parts[[int(rng.integers(2))]] if rng.random() < 0.5 else parts, axis=0)
        else:
            share = masks.feathered_outline_mask(target, size)
        both = cv2.erode(np.minimum(seen, labels[row] / 255).astype(np.float32), np.ones((3, 3)))
        share = share * cv2.GaussianBlur(both, (0, 0), 0.012 * size)
        if rng.random() < 0.3:
            share = share * rng.uniform(0.4, 0.8)  # somebody between the two
        return np.asarray(head + (matched - head) * share[..., None], np.float32)


def _change_skin(image: Floats, label: Floats, landmarks: Floats, rng: Generator) -> Floats:
    """Change tone, beard, make-up and lines of a face."""
    size = image.shape[0]
    soft = np.asarray(cv2.GaussianBlur(label.astype(np.float32), (0, 0), 0.02 * size), np.float32)
    if rng.random() < 0.5:
        lab: Any = cv2.cvtColor(image / 255, cv2.COLOR_RGB2LAB)
        level = float(lab[..., 0][label > 0.5].mean()) if (label > 0.5).any() else 50.0
        lab[..., 0] *= rng.uniform(22, 80) / max(level, 5) if rng.random() < 0.6 else rng.uniform(0.8, 1.2)
        lab[..., 1:] = lab[..., 1:] * rng.uniform(0.7, 1.2) + rng.normal(0, (3, 4))
        toned = cv2.cvtColor(np.clip(lab, (0, -100, -100), (100, 100, 100)).astype(np.float32), cv2.COLOR_LAB2RGB)
        # the neck and the hair may stay: a made-up face, or another's head
        share = soft if rng.random() < 0.5 else np.ones_like(soft)
        image = image + (toned * 255 - image) * share[..., None]
    if rng.random() < 0.25:
        image = _grow_beard(image, soft, landmarks, rng)
    if rng.random() < 0.25:
        image = _make_up(image, landmarks, rng)
    if rng.random() < 0.2:
        image = _add_lines(image, soft, landmarks, rng)
    return np.asarray(np.clip(image, 0, 255), np.float32)


def _grow_beard(image: Floats, soft: Floats, landmarks: Floats, rng: Generator) -> Floats:
    """Darken the lower face with short strokes of hair: stubble to a full beard. It is part of the face."""
    size = image.shape[0]
    flat = landmarks[:, :2]
    jaw = np.asarray(topology.OVAL)[_JAW]
    upper = flat[_MOUSTACHE]
    area = np.concatenate([flat[jaw], upper])
    plane = masks.draw_hull(area, size, 0.01 * size, 0.03 * size)
    lips = masks.draw_hull(flat[topology.MOUTH], size, 0, 0.008 * size)
    plane = plane * (1 - lips) * np.clip(soft * 1.3, 0, 1)
    if rng.random() < 0.3:  # of the chin or above the lip alone
        keep = masks.draw_hull(flat[[*topology.MOUTH, *topology.CHIN]], size, 0.02 * size, 0.02 * size)
        plane = plane * keep
    fine = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), 0.6, sigmaY=1.4)
    coarse = cv2.resize(rng.normal(0, 1, (12, 12)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    density = np.clip(rng.uniform(0.2, 0.95) + 0.25 * fine / fine.std() + 0.15 * coarse, 0, 1) * plane
    hair = np.array([30, 22, 18]) + rng.uniform(0, 1) * np.array([90, 60, 35]) * rng.uniform(0, 1.6)
    shade = hair * max(float(image.mean()) / 110, 0.25) * (1 + 0.25 * fine / fine.std())[..., None]
    return np.asarray(image + (shade - image) * density[..., None], np.float32)


def _make_up(image: Floats, landmarks: Floats, rng: Generator) -> Floats:
    """Colour lips, lids or cheeks."""
    size, flat = image.shape[0], landmarks[:, :2]
    unit = size / 128
    for part, grow, blur, strength in (
        ([topology.MOUTH], 0.5, 0.7, 0.8),
        ([topology.LEFT_EYE + topology.LEFT_BROW, topology.RIGHT_EYE + topology.RIGHT_BROW], 0.0, 1.5, 0.5),
        ([[205, 50, 187], [425, 280, 411]], 4.0, 3.0, 0.35),
    ):
        if rng.random() < 0.6:
            plane = np.max([masks.draw_hull(flat[p], size, grow * unit, blur * unit) for p in part], axis=0)
            tint = rng.uniform(0.35, 1.3, 3) * np.array([1.1, 0.8, 0.9])
            image = image + image * (tint - 1) * (plane * rng.uniform(0.2, strength))[..., None]
    return image


def _add_lines(image: Floats, soft: Floats, landmarks: Floats, rng: Generator) -> Floats:
    """Draw wrinkles, moles and scars: thin marks, darker or lighter than the skin, that cover nothing."""
    size = image.shape[0]
    plane: Any = np.zeros((size, size), np.float32)
    unit = float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2]))
    for _ in range(int(rng.integers(2, 12))):
        start = landmarks[int(rng.integers(topology.MESH)), :2]
        angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.3)
        steps = np.linspace(0, rng.uniform(0.02, 0.4), 8)[:, None] * unit
        turn = angle + bend * np.linspace(0, 1, 8)[:, None]
        path = start + steps * np.concatenate([np.cos(turn), np.sin(turn)], 1)
        cv2.polylines(
            plane, [np.rint(path * 8).astype(np.int32)], False, float(rng.uniform(0.1, 0.6)), 1, cv2.LINE_AA, 3
        )
    plane = cv2.GaussianBlur(plane, (0, 0), rng.uniform(0.4, 1.0) * size / 128) * soft
    return np.asarray(image * (1 + plane * rng.choice([-0.6, 0.4]))[..., None], np.float32)


def _stretch(image: Floats, label: Floats, landmarks: Floats, rng: Generator) -> tuple[Floats, Floats, Floats]:
    """Change the proportions of a head smoothly, landmarks and mask with it."""
    size = image.shape[0]
    coarse = rng.normal(0, _STRETCH * size * rng.uniform(0.2, 1), (_NODES, _NODES, 2)).astype(np.float32)
    shift: Any = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    across, down = x + shift[..., 0], y + shift[..., 1]
    image = np.asarray(cv2.remap(image, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), np.float32)
    label = np.asarray(cv2.remap(label.astype(np.float32), across, down, cv2.INTER_LINEAR), np.float32)
    flat = landmarks[:, :2].astype(np.float32)
    moved = flat.copy()
    for _ in range(8):  # the place whose content comes from where the landmark was
        at = cv2.remap(
            shift, moved[None, :, 0].copy(), moved[None, :, 1].copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        moved = flat - at[0]
    return image, label, np.concatenate([moved, landmarks[:, 2:]], 1).astype(np.float32)


def _light(image: Floats, rng: Generator) -> Floats:
    """Light a picture anew: gradients, coloured light, the edge of a shadow, a bright spot."""
    size = image.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    light = np.ones((size, size, 3), np.float32)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = (x * np.cos(angle) + y * np.sin(angle))[..., None]
        tint = 1 + rng.normal(0, 0.25, 3) if rng.random() < 0.3 else np.ones(3)
        light *= np.exp(rng.uniform(0, 2.2) * ramp * tint)
    if rng.random() < 0.25:
        coarse = rng.normal(0, 0.3, (4, 4)).astype(np.float32)
        light *= np.exp(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))[..., None]
    if rng.random() < 0.25:
        angle, offset, width = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15), rng.uniform(0.004, 0.08)
        bend = rng.normal(0, 0.6)
        along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
        edge = 1 / (1 + np.exp(-np.clip((along - offset + bend * across**2) / width, -30, 30)))
        light *= (1 - rng.uniform(0.2, 0.7) * edge)[..., None]
    if rng.random() < 0.15:
        cx, cy, reach = rng.normal(0, 0.2), rng.normal(0, 0.2), rng.uniform(0.03, 0.2)
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * reach**2))
        light *= 1 + rng.uniform(0.2, 1.2) * spot[..., None]
    lit = image * light
    return np.asarray(
        255 * (1 - np.exp(-lit / 255 * 1.6)) / (1 - np.exp(-1.6)) if rng.random() < 0.2 else lit, np.float32
    )
