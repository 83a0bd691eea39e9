"""Put things in front of faces, and know exactly what of the face they hide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facesmith.methods.occluder.families.layer import Face, Family, Layer, Plane, Surfaces
from facesmith.methods.occluder.families.objects import glasses, held, instrument, microphone, shape, sunglasses
from facesmith.methods.occluder.families.organic import cloth, foliage, food, hair, hand

FAMILIES: Final[dict[str, Family]] = {
    "hand": hand,
    "held": held,
    "food": food,
    "cloth": cloth,
    "hair": hair,
    "glasses": glasses,
    "sunglasses": sunglasses,
    "microphone": microphone,
    "shape": shape,
    "foliage": foliage,
    "instrument": instrument,
}
NONE: Final = "none"  # the name of an untouched face's family


@dataclass(frozen=True)
class Occluded:
    """A covered face: picture (S,S,3) uint8 RGB, visible (S,S) float32 0..1, 1 where nothing hides it, and by what."""

    picture: NDArray[np.uint8]
    visible: Plane
    family: str


class Occlude:
    """Cover faces at random.

    weights: how often each family of FAMILIES is drawn, by name; 0 never. clear: share of faces left alone, 0..1.
    several: share of covered faces that a second thing covers too. motion, soft: share of things blurred along a line,
    and with soft edges. surfaces: textures of things. Raises KeyError for a name that is no family.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        surfaces: Surfaces,
        *,
        clear: float,
        several: float,
        motion: float,
        soft: float,
    ) -> None:
        self._names = [name for name, weight in weights.items() if weight > 0]
        self._draw = [FAMILIES[name] for name in self._names]
        chances = np.array([weights[name] for name in self._names], np.float64)
        self._chances = chances / chances.sum()
        self._surfaces = surfaces
        self._clear, self._several, self._motion, self._soft = clear, several, motion, soft

    def __call__(self, picture: NDArray[np.uint8], landmarks: NDArray[np.floating], rng: Generator) -> Occluded:
        """Cover a face (S,S,3) uint8 RGB with landmarks (478,2+) px, or leave it alone."""
        visible: Plane = np.ones(picture.shape[:2], np.float32)
        if rng.random() < self._clear:
            return Occluded(picture, visible, NONE)
        first = str(rng.choice(self._names, p=self._chances))
        names = [first]
        if rng.random() < self._several:
            names.append(str(rng.choice(self._names, p=self._chances)))
        for name in names:
            picture, visible = self.lay(name, picture, visible, landmarks, rng)
        return Occluded(picture, visible, first)

    def lay(
        self,
        name: str,
        picture: NDArray[np.uint8],
        visible: Plane,
        landmarks: NDArray[np.floating],
        rng: Generator,
    ) -> tuple[NDArray[np.uint8], Plane]:
        """Lay one thing of a family over a picture; give the picture and what is still visible."""
        face = Face(picture, landmarks)
        layer = self._draw[self._names.index(name)](face, self._surfaces, rng)
        layer = _lit(layer, face, rng)
        layer = self._blurred(layer, face, rng)
        below = picture.astype(np.float32) * (1 - _shadow(layer.alpha, face, rng))[..., None]
        alpha = layer.alpha[..., None]
        covered = below * (1 - alpha) + layer.rgb * alpha
        return np.clip(np.rint(covered), 0, 255).astype(np.uint8), visible * (1 - layer.alpha)

    def _blurred(self, layer: Layer, face: Face, rng: Generator) -> Layer:
        """Blur as a lens or a movement does: colour and coverage alike."""
        sigma = rng.uniform(0.2, 0.8) * face.size / 128
        if rng.random() < self._soft:
            sigma = rng.uniform(0.8, 2.5) * face.size / 128
        whole: Any = np.dstack([layer.rgb * layer.alpha[..., None], layer.alpha]).astype(np.float32)
        whole = cv2.GaussianBlur(whole, (0, 0), sigma)
        if rng.random() < self._motion:
            whole = cv2.filter2D(whole, -1, _trail(rng.uniform(0.03, 0.12) * face.size, rng.uniform(0, np.pi)))
        alpha = np.clip(whole[..., 3], 0, 1)
        return Layer(whole[..., :3] / np.maximum(alpha, 1e-4)[..., None], alpha)


def _lit(layer: Layer, face: Face, rng: Generator) -> Layer:
    """Return a thing the light of the scene: its colour cast, its brightness, its grain."""
    grain = rng.normal(0, rng.uniform(0, 3), (face.size, face.size, 1))
    if layer.lit:
        return Layer(np.clip(layer.rgb + grain, 0, 255).astype(np.float32), layer.alpha)
    lab = cv2.cvtColor(face.picture, cv2.COLOR_RGB2LAB).astype(np.float32).reshape(-1, 3).mean(0)
    brightness = np.clip(lab[0] / 128, 0.35, 1.25) ** rng.uniform(0.3, 1)
    cast = face.picture.reshape(-1, 3).mean(0) / max(float(face.picture.mean()), 1)
    cast = cast ** rng.uniform(0, 0.6)
    y, x = np.mgrid[0 : face.size, 0 : face.size] / face.size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    fall = 1 + rng.uniform(0, 0.35) * (x * np.cos(angle) + y * np.sin(angle))
    rgb = layer.rgb * (brightness * fall)[..., None] * cast
    # dark things in a picture are never quite black: the scene's own black
    floor = np.percentile(face.picture, 2) * 0.7
    rgb = floor + rgb * (255 - floor) / 255 + grain
    return Layer(np.clip(rgb, 0, 255).astype(np.float32), layer.alpha)


def _shadow(alpha: Plane, face: Face, rng: Generator) -> Plane:
    """Return how much a thing darkens what lies behind it (S,S) 0..1: the face there is still visible."""
    if rng.random() < 0.4:
        return np.zeros_like(alpha)
    move = rng.normal(0, 0.08, 2) * face.unit
    moved = cv2.warpAffine(alpha, np.array([[1, 0, move[0]], [0, 1, move[1]]]), alpha.shape[::-1])
    return np.asarray(rng.uniform(0.1, 0.5) * cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.03, 0.12) * face.unit))


def _trail(length: float, angle: float) -> NDArray[np.float32]:
    side = max(3, 2 * int(length / 2) + 1)
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, length / 2
    x, y = round(reach * np.cos(angle)), round(reach * np.sin(angle))
    cv2.line(kernel, (middle - x, middle - y), (middle + x, middle + y), 1.0, 1, cv2.LINE_AA)
    return kernel / max(float(kernel.sum()), 1e-6)
