"""What an occluder is made of: colour and coverage, drawn in the face's own coordinates."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import skimage.data
from numpy.random import Generator
from numpy.typing import NDArray

from facesmith.faces.geometry import topology

Plane = NDArray[np.float32]
Picture = NDArray[np.float32]
Points = NDArray[np.floating]

_SUBPIXEL = 4  # bits of cv2's fixed-point coordinates
_MARGIN = 2  # px around a tube in which its depth is exact; further out it is only known to be negative


@dataclass(frozen=True)
class Layer:
    """Something in front of a face: rgb (S,S,3) float32 0..255, alpha (S,S) float32 0..1, how much of it hides.

    lit: whether its colours come from the picture, and so have the scene's light already.
    """

    rgb: Picture
    alpha: Plane
    lit: bool = False


@dataclass(frozen=True)
class Face:
    """A face to cover: picture (S,S,3) uint8 RGB, landmarks (478,2+) px.

    Its coordinates have their origin between the eyes and the distance of the outer eye corners as unit; x to the
    right of the picture, y down the face. The mouth lies near y = .8, the chin near 1.3, the cheeks at x = -.75, .75.
    """

    picture: NDArray[np.uint8]
    landmarks: Points

    @property
    def size(self) -> int:
        """Side of the picture in px."""
        return int(self.picture.shape[0])

    @property
    def unit(self) -> float:
        """Distance of the outer eye corners in px."""
        return float(np.linalg.norm(self._axis))

    @property
    def _axis(self) -> Points:
        left, right = (self.landmarks[i, :2] for i in (topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER))
        return np.asarray(right - left, np.float64)

    def to_px(self, points: Points) -> Points:
        """Turn face coordinates (...,2) into px."""
        across = self._axis
        down = np.array([-across[1], across[0]])
        middle = self.landmarks[[topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER], :2].mean(0)
        points = np.asarray(points, np.float64)
        return middle + points[..., :1] * across + points[..., 1:] * down

    def skin(self) -> NDArray[np.float32]:
        """Return the colour of the cheeks (3,) RGB 0..255."""
        places = np.clip(np.rint(self.landmarks[_CHEEKS, :2]).astype(int), 0, self.size - 1)
        return np.median(self.picture[places[:, 1], places[:, 0]], axis=0).astype(np.float32)


_CHEEKS = [50, 280, 205, 425, 117, 346, 123, 352, 187, 411]


class Family(Protocol):
    """A kind of occluder: draws one at random over a face."""

    def __call__(self, face: Face, surface: "Surfaces", rng: Generator) -> Layer:
        """Draw; `surface` gives textures."""
        ...


class Surfaces(Protocol):
    """Gives surfaces to cover things with."""

    def __call__(self, size: int, rng: Generator) -> Picture:
        """Return a random texture (size,size,3) float32 RGB 0..255."""
        ...


def polygon(points: Points, size: int) -> Plane:
    """Fill a polygon (k,2) in px with a soft pixel's edge: (size,size) 0..1."""
    plane = np.zeros((size, size), np.uint8)
    fixed = np.rint(np.asarray(points, np.float64) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(plane, [fixed], 255, cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(plane / 255, np.float32)


def stroke(points: Points, size: int, width: float) -> Plane:
    """Draw a line through points (k,2) in px, `width` px wide: (size,size) 0..1."""
    plane = np.zeros((size, size), np.uint8)
    fixed = np.rint(np.asarray(points, np.float64) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.polylines(plane, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(plane / 255 * min(1.0, width), np.float32)


def tubes(points: Points, radii: Sequence[float], links: Sequence[tuple[int, int]], size: int) -> NDArray[np.float32]:
    """Return how far each pixel lies inside each tapered tube, (links,size,size) px, negative outside.

    points: (k,2) px, the ends of tubes; radii: px at each of them; links: which ends belong together.
    """
    depth = np.full((len(links), size, size), -float(size), np.float32)
    for row, (a, b) in enumerate(links):
        ends, reach = np.stack([points[a], points[b]]), max(radii[a], radii[b]) + _MARGIN
        low = np.clip(np.floor(ends.min(0) - reach), 0, size).astype(int)
        high = np.clip(np.ceil(ends.max(0) + reach), 0, size).astype(int)
        y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
        start, along = ends[0], ends[1] - ends[0]
        length = max(float(along @ along), 1e-6)
        dx, dy = (x - start[0]).astype(np.float32), (y - start[1]).astype(np.float32)
        t = np.clip((dx * along[0] + dy * along[1]) / length, 0, 1)
        away = np.hypot(dx - t * along[0], dy - t * along[1])
        depth[row, low[1] : high[1], low[0] : high[0]] = radii[a] + t * (radii[b] - radii[a]) - away
    return depth


def covered(depth: Plane) -> Plane:
    """Turn depth in px (0 at the edge) into coverage with a pixel's soft edge."""
    return np.clip(depth + 0.5, 0, 1).astype(np.float32)


def rounded(depth: Plane, radius: float, rng: Generator, ambient: float = 0.55) -> Plane:
    """Shade a body as if it were round towards its edge within `radius` px: (S,S), about 1 facing the light."""
    inside = np.clip(depth / max(radius, 1e-3), 0, 1)
    height = np.sqrt(np.clip(1 - (1 - inside) ** 2, 0, 1)) * radius
    dy, dx = np.gradient(cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.8))
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9)
    light = -(dx * np.cos(angle) + dy * np.sin(angle)) * tilt + np.sqrt(1 - tilt**2)
    lit = np.clip(light / np.sqrt(dx**2 + dy**2 + 1), 0, 1)
    return np.asarray(ambient + (1.25 - ambient) * lit, np.float32)


def over(below: Layer, above: Layer) -> Layer:
    """Lay one thing over another."""
    alpha = above.alpha + below.alpha * (1 - above.alpha)
    share = (above.alpha / np.maximum(alpha, 1e-6))[..., None]
    rgb = np.asarray(above.rgb * share + below.rgb * (1 - share), np.float32)
    return Layer(rgb, np.asarray(alpha, np.float32), above.lit and below.lit)


def plain(colour: Sequence[float] | Points, alpha: Plane) -> Layer:
    """Return a layer of one colour (3,) RGB 0..255."""
    return Layer(np.broadcast_to(np.asarray(colour, np.float32), (*alpha.shape, 3)), alpha)


def any_colour(rng: Generator) -> NDArray[np.float32]:
    """Return a random colour (3,) RGB 0..255, dull ones and bright ones alike."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 1.5), rng.uniform(0.05, 1)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255, np.float32)


def turned(points: Points, angle: float) -> Points:
    """Turn points (k,2) by an angle in radians, clockwise in the picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points) @ np.array([[cos, sin], [-sin, cos]])


def somewhere(rng: Generator) -> Points:
    """Return a place on the face (2,) in face coordinates, anywhere a thing would still cover some of it."""
    return np.array([rng.normal(0, 0.4), rng.normal(0.45, 0.5)])


# Pictures without faces that come with scikit-image; those for validation are never trained on.
_TRAINED = ("brick", "cat", "coffee", "coins", "grass", "moon", "page", "rocket")
_KEPT_ASIDE = ("gravel", "hubble_deep_field", "immunohistochemistry", "retina")


class PhotoSurfaces:
    """Random textures (size,size,3) float32 RGB 0..255; `held_out` ones share no photograph with the others."""

    def __init__(self, held_out: bool = False) -> None:
        self._names = _KEPT_ASIDE if held_out else _TRAINED

    def __call__(self, size: int, rng: Generator) -> Picture:
        """Return a texture: a photograph's patch recoloured, a pattern, or a plain colour."""
        kind = rng.choice(["photo", "stripes", "checks", "grain", "plain"], p=[0.45, 0.12, 0.1, 0.18, 0.15])
        if kind == "photo":
            return _patch(str(rng.choice(self._names)), size, rng)
        first, second = any_colour(rng), any_colour(rng)
        share = {"stripes": _stripes, "checks": _checks, "grain": _grain, "plain": _plain}[kind](size, rng)[..., None]
        return np.asarray(first * share + second * (1 - share), np.float32)


@functools.cache
def _photo(name: str) -> NDArray[np.uint8]:
    picture = getattr(skimage.data, name)()
    return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))


def _patch(name: str, size: int, rng: Generator) -> Picture:
    photo = _photo(name)
    side = int(rng.uniform(0.15, 0.7) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, extent - side)) for extent in photo.shape[:2])
    patch = cv2.resize(photo[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    patch = np.rot90(patch, int(rng.integers(4)))
    tinted = patch.astype(np.float32) * rng.uniform(0.6, 1.3, 3)
    return np.asarray(np.clip(tinted, 0, 255), np.float32)


def _stripes(size: int, rng: Generator) -> NDArray[np.float32]:
    y, x = np.mgrid[0:size, 0:size] / size
    angle, count = rng.uniform(0, np.pi), rng.uniform(3, 25)
    wave = np.sin(2 * np.pi * count * (x * np.cos(angle) + y * np.sin(angle)))
    return np.asarray(np.clip(wave * rng.uniform(1, 6) + 0.5, 0, 1), np.float32)


def _checks(size: int, rng: Generator) -> NDArray[np.float32]:
    return np.asarray(np.clip((_stripes(size, rng) + _stripes(size, rng)) / 2, 0, 1), np.float32)


def _grain(size: int, rng: Generator) -> NDArray[np.float32]:
    field = np.zeros((size, size), np.float32)
    for octave in range(2, 7):
        rough = rng.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        field += np.asarray(cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC), np.float32) / 1.6**octave
    return np.asarray(np.clip(field * rng.uniform(0.5, 1.5) + 0.5, 0, 1), np.float32)


def _plain(size: int, rng: Generator) -> NDArray[np.float32]:
    return np.full((size, size), rng.uniform(0, 1), np.float32)
