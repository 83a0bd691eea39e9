"""Similarity transforms between a frame and an aligned face crop.

Pixel coordinates follow OpenCV: (0, 0) is the centre of the top left pixel. A matrix is (2, 3) float64 and
takes points of the first picture to points of the second.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry.templates import TEMPLATES

Array = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

# A large face is first shrunk by a whole factor, but stays larger than the crop by 1 over this: several times
# as fast as sampling each of its pixels.
_COARSE = 0.5


def estimate(five: Array, template: str, size: int) -> Matrix:
    """The similarity that brings five points of a frame onto a template with the least squared error.

    five: (5, 2) px of the frame, in the template's order. size: side of the square crop in px.
    Returns (2, 3), frame to crop. Raises KeyError for an unknown template.
    """
    return _least_squares(np.asarray(five, dtype=np.float64), TEMPLATES[template] * size)


def between(template_a: str, size_a: int, template_b: str, size_b: int) -> Matrix:
    """The similarity from a crop on one template to a crop on another: (2, 3), crop a to crop b."""
    return _least_squares(TEMPLATES[template_a] * size_a, TEMPLATES[template_b] * size_b)


def invert(matrix: Matrix) -> Matrix:
    """The matrix that undoes `matrix`: (2, 3)."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(matrix, dtype=np.float64)), dtype=np.float64)


def transform(points: Array, matrix: Matrix) -> Array:
    """Points (..., 2), or (..., 3) with a depth in px, taken through a matrix; same shape and dtype.

    A depth is multiplied by the matrix's scale, so that it stays in px of the new picture.
    """
    points = np.asarray(points)
    flat = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[-1] == 3:
        flat = np.concatenate([flat, points[..., 2:] * scale(matrix)], axis=-1)
    return flat.astype(points.dtype if np.issubdtype(points.dtype, np.floating) else np.float64)


def scale(matrix: Matrix) -> float:
    """How many px of the second picture one px of the first becomes."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def warp(image: Pixels, matrix: Matrix, size: int) -> Pixels:
    """The (size, size, C) crop that `matrix` (frame to crop) cuts out of an image (H, W, C) uint8.

    Where the crop is smaller than what it shows, its pixels are means of the image's: no aliasing. Outside
    the image its border is repeated.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    shrink = int(_COARSE / scale(matrix))
    if shrink > 1:
        image, matrix = _shrunk(image, matrix, size, shrink)
    samples = max(math.ceil(1.0 / scale(matrix) - 1e-6), 1)
    fine = matrix * samples
    fine[:, 2] += (samples - 1) / 2
    crop = cv2.warpAffine(
        image, fine, (size * samples, size * samples), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if samples > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=np.uint8)


def _shrunk(image: Pixels, matrix: Matrix, size: int, k: int) -> tuple[Pixels, Matrix]:
    """The part of the image that the crop shows, in means of k by k pixels, and its matrix to the crop."""
    sides = np.array([image.shape[1], image.shape[0]])
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    seen = transform(corners, invert(matrix))
    low = np.clip(np.floor(seen.min(0)).astype(int) - 2 * k, 0, sides - 1)
    high = np.clip(np.ceil(seen.max(0)).astype(int) + 2 * k, low + 1, sides)
    right, bottom = (low - high) % k
    part = cv2.copyMakeBorder(
        image[low[1] : high[1], low[0] : high[0]], 0, int(bottom), 0, int(right), cv2.BORDER_REPLICATE
    )
    small = cv2.resize(part, (part.shape[1] // k, part.shape[0] // k), interpolation=cv2.INTER_AREA)
    turn = matrix[:, :2]
    return np.asarray(small, dtype=np.uint8), np.column_stack([turn * k, turn @ (low + (k - 1) / 2) + matrix[:, 2]])


def _least_squares(source: Matrix, target: Matrix) -> Matrix:
    # In the complex plane a similarity is w = a z + b: an ordinary regression with a closed form.
    z, w = source @ (1, 1j), target @ (1, 1j)
    spread = z - z.mean()
    power = float(np.sum(np.abs(spread) ** 2))
    if not np.isfinite(power) or power == 0.0:
        raise ValueError("five points in one place, or not finite, give no alignment")
    a = complex(np.sum(spread.conj() * (w - w.mean())) / power)
    b = complex(w.mean() - a * z.mean())
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
