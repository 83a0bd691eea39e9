"""Drawing primitives of synthetic occluders: RGBA layers, drawn in the face's own coordinates.

An occluder *family* (hand, cup, glasses, ...) is a function that draws one random thing of its kind over a face. It
returns a *layer*: colours and how much they hide. Its colours may come from a *texture source*.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
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
    """Something in front of a face."""

    rgb: Picture
    """(S,S,3) RGB float32 in 0..255."""
    alpha: Plane
    """(S,S) float32 in 0..1: 1 where it hides what is behind it."""
    scene_lit: bool = False
    """Whether its colours were sampled from the picture, and so have the scene's light already."""
    hides: Plane | None = None
    """(S,S) float32 in 0..1: what is hidden beyond `alpha`; a rim thinner than a pixel hides that pixel whole."""


@dataclass(frozen=True)
class FaceCanvas:
    """A face to draw over, and its own system of coordinates.

    Face coordinates have their origin between the eyes and the distance of the outer eye corners as unit; x to the
    right of the picture, y down the face. The mouth lies near y = .8, the chin near 1.3, the cheeks at x = -.75, .75.
    """

    picture: NDArray[np.uint8]
    """(S,S,3) RGB uint8."""
    landmarks: Points
    """(478,2+) in px."""

    @property
    def size(self) -> int:
        """Width and height of the picture in px."""
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
        """Convert face coordinates (...,2) to px."""
        across = self._axis
        down = np.array([-across[1], across[0]])
        middle = self.landmarks[[topology.LEFT_EYE_OUTER, topology.RIGHT_EYE_OUTER], :2].mean(0)
        points = np.asarray(points, np.float64)
        return middle + points[..., :1] * across + points[..., 1:] * down

    def skin_colour(self) -> NDArray[np.float32]:
        """Return the median colour of the cheeks, (3,) RGB in 0..255."""
        places = np.clip(np.rint(self.landmarks[_CHEEKS, :2]).astype(int), 0, self.size - 1)
        return np.median(self.picture[places[:, 1], places[:, 0]], axis=0).astype(np.float32)


_CHEEKS = [50, 280, 205, 425, 117, 346, 123, 352, 187, 411]


class Family(Protocol):
    """A kind of occluder, of which it draws one at random."""

    def __call__(self, face: FaceCanvas, texture: "TextureSource", rng: Generator) -> Layer:
        """Draw one.

        Args:
            face: The face to draw over; it is not changed.
            texture: Source of random textures.
            rng: Source of everything else that is random.
        """
        ...


class TextureSource(Protocol):
    """A source of random textures."""

    def __call__(self, size: int, rng: Generator) -> Picture:
        """Return a random texture, (size,size,3) RGB float32 in 0..255."""
        ...

    def hand(self, rng: Generator) -> NDArray[np.uint8]:
        """Return a photographed hand, cut out: (h,w,4) RGBA uint8."""
        ...


def skin_detail(face: FaceCanvas, rng: Generator) -> Picture:
    """Return the fine structure of the face's own skin, enlarged at random, as factors (S,S,3) around 1."""
    size = face.size
    cheek = face.landmarks[_CHEEKS[int(rng.integers(len(_CHEEKS)))], :2]
    reach = max(0.16 * face.unit, 4)
    low = np.clip(np.rint(cheek - reach), 0, size - 8).astype(int)
    high = np.clip(np.rint(cheek + reach), low + 8, size).astype(int)
    patch = face.picture[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    patch = np.concatenate([patch, patch[:, ::-1]], 1)
    patch = np.concatenate([patch, patch[::-1]], 0)
    repeats = -(-2 * size // min(patch.shape[:2]))
    tiled = np.tile(patch, (repeats, repeats, 1))[: 2 * size, : 2 * size]
    matrix = cv2.getRotationMatrix2D((float(size), float(size)), rng.uniform(0, 360), rng.uniform(0.8, 2.5))
    matrix = np.asarray(matrix, np.float64) - np.array([[0, 0, size / 2]])
    turned = cv2.warpAffine(tiled, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(turned / np.maximum(patch.mean((0, 1)), 1), 0.5, 1.6), np.float32)


def fill_polygon(points: Points, size: int) -> Plane:
    """Fill a polygon.

    Args:
        points: Corners (k,2) in px.
        size: Width and height of the result in px.

    Returns:
        Coverage (size,size) in 0..1 with an antialiased edge.
    """
    plane = np.zeros((size, size), np.uint8)
    fixed = np.rint(np.asarray(points, np.float64) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(plane, [fixed], 255, cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(plane / 255, np.float32)


def draw_stroke(points: Points, size: int, width: float) -> Plane:
    """Draw a line through points.

    Args:
        points: (k,2) in px.
        size: Width and height of the result in px.
        width: Of the line, in px; below 1 the line is drawn fainter.

    Returns:
        Coverage (size,size) in 0..1.
    """
    plane = np.zeros((size, size), np.uint8)
    fixed = np.rint(np.asarray(points, np.float64) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.polylines(plane, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(plane / 255 * min(1.0, width), np.float32)


def tube_depth(
    points: Points, radii: Sequence[float], links: Sequence[tuple[int, int]], size: int
) -> NDArray[np.float32]:
    """Compute the depth of each pixel inside each of several tapered tubes.

    Args:
        points: Ends of the tubes, (k,2) in px.
        radii: Of the tube at each of them, in px.
        links: Pairs of numbers of points; each pair is a tube.
        size: Width and height of the result in px.

    Returns:
        Depth (links,size,size) in px, negative outside.
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


def coverage(depth: Plane) -> Plane:
    """Convert depth (S,S) in px, 0 at the edge, to coverage in 0..1 with an antialiased edge."""
    return np.clip(depth + 0.5, 0, 1).astype(np.float32)


def shade_rounded(depth: Plane, radius: float, rng: Generator, ambient: float = 0.55) -> Plane:
    """Shade a body as if its edge were round, lit from a random direction.

    Args:
        depth: How far inside the body each pixel lies, (S,S) in px.
        radius: How far the rounding reaches inwards, in px.
        rng: Source of the light's direction.
        ambient: Brightness of what faces away from the light.

    Returns:
        Factors (S,S) for colours, from `ambient` to 1.25.
    """
    inside = np.clip(depth / max(radius, 1e-3), 0, 1)
    height = np.sqrt(np.clip(1 - (1 - inside) ** 2, 0, 1)) * radius
    dy, dx = np.gradient(cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.8))
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9)
    light = -(dx * np.cos(angle) + dy * np.sin(angle)) * tilt + np.sqrt(1 - tilt**2)
    lit = np.clip(light / np.sqrt(dx**2 + dy**2 + 1), 0, 1)
    return np.asarray(ambient + (1.25 - ambient) * lit, np.float32)


def composite_over(below: Layer, above: Layer) -> Layer:
    """Composite one layer over another.

    Args:
        below: Lower layer.
        above: Upper layer.
    """
    alpha = above.alpha + below.alpha * (1 - above.alpha)
    share = (above.alpha / np.maximum(alpha, 1e-6))[..., None]
    rgb = np.asarray(above.rgb * share + below.rgb * (1 - share), np.float32)
    hides = [plane for plane in (above.hides, below.hides) if plane is not None]
    both = above.scene_lit and below.scene_lit
    return Layer(rgb, np.asarray(alpha, np.float32), both, np.max(hides, axis=0) if hides else None)


def solid_layer(colour: Sequence[float] | Points, alpha: Plane) -> Layer:
    """Create a layer of one colour.

    Args:
        colour: (3,) RGB 0..255.
        alpha: Coverage (S,S), 0..1.
    """
    return Layer(np.broadcast_to(np.asarray(colour, np.float32), (*alpha.shape, 3)), alpha)


def random_colour(rng: Generator) -> NDArray[np.float32]:
    """Return a random colour, (3,) RGB in 0..255: dull ones as well as bright ones."""
    hsv = np.array([[[rng.uniform(0, 360), rng.beta(1.2, 1.5), rng.uniform(0.05, 1)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255, np.float32)


def rotate(points: Points, angle: float) -> Points:
    """Rotate points around the origin.

    Args:
        points: (k,2), x and y.
        angle: Radians, clockwise in the picture.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points) @ np.array([[cos, sin], [-sin, cos]])


def random_place(rng: Generator) -> Points:
    """Return a random place (2,) in face coordinates where a thing would still cover some of the face."""
    return np.array([rng.normal(0, 0.4), rng.normal(0.45, 0.5)])
