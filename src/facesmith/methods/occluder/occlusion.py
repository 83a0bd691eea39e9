"""Synthetic occlusion: draw things over faces, and know exactly what of the face they hide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.families.drawing import FaceCanvas, Layer, Plane, TextureSource

UNOCCLUDED: Final = "none"
"""Family name of an unoccluded face."""


@dataclass(frozen=True)
class OccludedFace:
    """A face with something drawn over it."""

    picture: NDArray[np.uint8]
    """(S,S,3) RGB uint8."""
    visible: Plane
    """(S,S) float32 in 0..1: 1 where nothing hides the face."""
    family: str
    """Name of the family of what covers it, or `UNOCCLUDED`."""


class RandomOcclusion:
    """Cover faces at random with things of several families.

    Args:
        weights: How often each family of `FAMILIES` is drawn, by name; 0 for never.
        textures: Source of the textures of things.
        unoccluded: Share of faces that are left alone, 0..1.
        second_occluder: Share of covered faces that a second thing covers too, 0..1.
        motion_blur: Share of things with motion blur, 0..1.
        defocus: Share of things that are out of focus, 0..1.

    Raises:
        KeyError: A name with a weight is no family.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        textures: TextureSource,
        *,
        unoccluded: float,
        second_occluder: float,
        motion_blur: float,
        defocus: float,
    ) -> None:
        self._names = [name for name, weight in weights.items() if weight > 0]
        self._families = [FAMILIES[name] for name in self._names]
        chances = np.array([weights[name] for name in self._names], np.float64)
        self._chances = chances / chances.sum()
        self._textures = textures
        self._unoccluded, self._second_occluder = unoccluded, second_occluder
        self._motion_blur, self._defocus = motion_blur, defocus

    def __call__(self, picture: NDArray[np.uint8], landmarks: NDArray[np.floating], rng: Generator) -> OccludedFace:
        """Cover a face, or leave it alone.

        Args:
            picture: (S,S,3) RGB uint8; it is not changed.
            landmarks: (478,2+) in px.
            rng: Decides everything: the same state draws the same thing.
        """
        visible: Plane = np.ones(picture.shape[:2], np.float32)
        if rng.random() < self._unoccluded:
            return OccludedFace(picture, visible, UNOCCLUDED)
        first = str(rng.choice(self._names, p=self._chances))
        names = [first]
        if rng.random() < self._second_occluder:
            names.append(str(rng.choice(self._names, p=self._chances)))
        for name in names:
            picture, visible = self._draw(name, picture, visible, landmarks, rng)
        return OccludedFace(picture, visible, first)

    def _draw(
        self,
        name: str,
        picture: NDArray[np.uint8],
        visible: Plane,
        landmarks: NDArray[np.floating],
        rng: Generator,
    ) -> tuple[NDArray[np.uint8], Plane]:
        """Draw one thing of a family; return the picture and what is still visible."""
        face = FaceCanvas(picture, landmarks)
        layer = self._families[self._names.index(name)](face, self._textures, rng)
        layer = _light(layer, face, rng)
        layer = self._blur(layer, face, rng)
        below = picture.astype(np.float32) * (1 - _shadow(layer.alpha, face, rng))[..., None]
        alpha = layer.alpha[..., None]
        blended = below * (1 - alpha) + layer.rgb * alpha
        hidden = layer.alpha if layer.hides is None else np.maximum(layer.alpha, layer.hides)
        return np.clip(np.rint(blended), 0, 255).astype(np.uint8), visible * (1 - hidden)

    def _blur(self, layer: Layer, face: FaceCanvas, rng: Generator) -> Layer:
        """Blur colours and coverage alike, as a lens or a movement does."""
        sigma = rng.uniform(0.2, 0.8) * face.size / 128
        if rng.random() < self._defocus:
            sigma = rng.uniform(0.8, 2.5) * face.size / 128
        rgba: Any = np.dstack([layer.rgb * layer.alpha[..., None], layer.alpha]).astype(np.float32)
        rgba = cv2.GaussianBlur(rgba, (0, 0), sigma)
        if rng.random() < self._motion_blur:
            rgba = cv2.filter2D(rgba, -1, _motion_kernel(rng.uniform(0.03, 0.12) * face.size, rng.uniform(0, np.pi)))
        alpha = np.clip(rgba[..., 3], 0, 1)
        return Layer(rgba[..., :3] / np.maximum(alpha, 1e-4)[..., None], alpha, hides=layer.hides)


def _light(layer: Layer, face: FaceCanvas, rng: Generator) -> Layer:
    """Match an occluder to the light of the scene: its colour cast, its brightness, its grain."""
    grain = rng.normal(0, rng.uniform(0, 3), (face.size, face.size, 1))
    if layer.scene_lit:
        return Layer(np.clip(layer.rgb + grain, 0, 255).astype(np.float32), layer.alpha, hides=layer.hides)
    lab = cv2.cvtColor(face.picture, cv2.COLOR_RGB2LAB).astype(np.float32).reshape(-1, 3).mean(0)
    brightness = np.clip(lab[0] / 128, 0.35, 1.25) ** rng.uniform(0.3, 1)
    cast = face.picture.reshape(-1, 3).mean(0) / max(float(face.picture.mean()), 1)
    cast = cast ** rng.uniform(0, 0.6)
    y, x = np.mgrid[0 : face.size, 0 : face.size] / face.size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    falloff = 1 + rng.uniform(0, 0.35) * (x * np.cos(angle) + y * np.sin(angle))
    rgb = layer.rgb * (brightness * falloff)[..., None] * cast
    # dark things in a picture are never quite black: the scene's own black
    black = np.percentile(face.picture, 2) * 0.7
    rgb = black + rgb * (255 - black) / 255 + grain
    return Layer(np.clip(rgb, 0, 255).astype(np.float32), layer.alpha, hides=layer.hides)


def _shadow(alpha: Plane, face: FaceCanvas, rng: Generator) -> Plane:
    """Return the shadow that an object casts behind it, (S,S) in 0..1; the face there is still visible."""
    if rng.random() < 0.4:
        return np.zeros_like(alpha)
    offset = rng.normal(0, 0.08, 2) * face.unit
    moved = cv2.warpAffine(alpha, np.array([[1, 0, offset[0]], [0, 1, offset[1]]]), alpha.shape[::-1])
    return np.asarray(rng.uniform(0.1, 0.5) * cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.03, 0.12) * face.unit))


def _motion_kernel(length: float, angle: float) -> NDArray[np.float32]:
    side = max(3, 2 * int(length / 2) + 1)
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, length / 2
    x, y = round(reach * np.cos(angle)), round(reach * np.sin(angle))
    cv2.line(kernel, (middle - x, middle - y), (middle + x, middle + y), 1.0, 1, cv2.LINE_AA)
    return kernel / max(float(kernel.sum()), 1e-6)
