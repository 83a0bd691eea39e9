"""Shapes of other programs' annotation files drawn into masks; what no picture can hold is refused, not drawn."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from facesmith.annotate.interpolation import Mask

# Sides of the picture that a point may lie outside of it: drawing programs let the pointer slip.
_OUTSIDE: Final = 4.0
_KINDS: Final = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 1}  # shapes, and their fewest points


def draw_labelme(mask: Mask, shape: dict[str, Any], value: int) -> None:
    """Draw a shape of labelme.

    Args:
        mask: (S, S) uint8; it is changed.
        shape: As the file holds it.
        value: 0..255.

    Raises:
        ValueError: The shape is of another kind, or its points are none of this picture.
    """
    kind = str(shape.get("shape_type", "polygon"))
    if kind not in _KINDS:
        raise ValueError(f"a shape is a {kind[:20]}; use polygons, rectangles, circles or masks")
    points = _points(shape["points"], len(mask), _KINDS[kind])
    if kind == "polygon":
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], value)
    elif kind == "rectangle":
        (left, top), (right, bottom) = np.rint(points[:2]).astype(int).tolist()
        cv2.rectangle(mask, (left, top), (right, bottom), value, -1)
    elif kind == "circle":
        radius = float(np.linalg.norm(points[1] - points[0]))
        x, y = np.rint(points[0]).astype(int).tolist()
        cv2.circle(mask, (x, y), round(radius), value, -1)
    else:
        _paste(mask, shape["mask"], points[0], value)


def decode_coco(segmentation: object, size: int) -> Mask:
    """Return a segmentation of COCO, polygons or run lengths, as a mask (S, S) uint8, 0 or 255.

    Args:
        segmentation: As the file holds it.
        size: S, of the picture.

    Raises:
        ValueError: It is neither, or not of this picture.
    """
    if isinstance(segmentation, list):
        polygons = [_points(np.reshape(one, (-1, 2)), size, 3).ravel().tolist() for one in segmentation]
        if not polygons:
            return np.zeros((size, size), np.uint8)
        return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, size, size))) * 255, np.uint8)
    if not isinstance(segmentation, dict):
        raise ValueError("a segmentation is neither polygons nor run lengths")
    if list(segmentation["size"]) != [size, size]:
        raise ValueError(f"a segmentation is of {segmentation['size']} px, not {size}x{size}")
    counts = segmentation["counts"]
    runs = np.asarray(_unpack(counts) if isinstance(counts, str) else counts)
    if runs.ndim != 1 or runs.dtype.kind != "i" or (runs < 0).any() or int(runs.sum()) != size * size:
        raise ValueError(f"run lengths do not add up to {size}x{size} px")
    # Columns one after the other, first what is not the shape.
    values = np.arange(len(runs)) % 2 * 255
    return np.ascontiguousarray(np.repeat(values, runs).reshape(size, size).T, np.uint8)


def _points(raw: object, size: int, fewest: int) -> NDArray[np.float64]:
    """Return points (N, 2) as numbers near the picture."""
    points = np.array(raw, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < fewest:
        raise ValueError("a shape has too few points, or no pairs of numbers")
    wrong = ~np.isfinite(points) | (np.abs(points - size / 2) > (_OUTSIDE + 0.5) * size)
    if wrong.any():
        x, y = points[wrong.any(1)][0]
        raise ValueError(f"a point lies at {x:g}, {y:g}, far outside of the {size}x{size} px")
    return points


def _paste(mask: Mask, packed: str, corner: NDArray[np.float64], value: int) -> None:
    image = Image.open(io.BytesIO(base64.b64decode(packed)))
    if max(image.size) > len(mask):
        raise ValueError(f"a mask is of {image.width}x{image.height} px, larger than the picture")
    drawn = np.asarray(image.convert("L")) > 0
    left, top = np.rint(corner).astype(int).tolist()
    inside = drawn[max(0, -top) : max(0, len(mask) - top), max(0, -left) : max(0, len(mask) - left)]
    y, x = max(0, top), max(0, left)
    mask[y : y + inside.shape[0], x : x + inside.shape[1]][inside] = value


def _unpack(text: str) -> Sequence[int]:
    """Return the run lengths in COCO's compressed text: 5 bits a character, differences to the last but one."""
    counts: list[int] = []
    number, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("run lengths are not packed as COCO packs them")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number, shift = 0, 0
    return counts
