"""Alignment of faces: templates of every crop convention in use, similarities onto them, and warping.

A template defines the five keypoints of a face in an aligned crop. Points are (x, y) as fractions of the crop's
side, in the order left eye, right eye, nose tip, left mouth corner, right mouth corner as seen in the picture. The
values are those of FaceFusion 3.8 and of the models they were made for.
"""

import math
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

_POINTS: Final = {
    "arcface_112_v1": (
        (0.35473214, 0.45658929),
        (0.64526786, 0.45658929),
        (0.5, 0.61154464),
        (0.37913393, 0.776875),
        (0.62086607, 0.776875),
    ),
    "arcface_112_v2": (
        (0.34191607, 0.46157411),
        (0.65653393, 0.45983393),
        (0.500225, 0.64050536),
        (0.37097589, 0.82469196),
        (0.63151696, 0.82325089),
    ),
    "arcface_128": (
        (0.36167656, 0.40387734),
        (0.63696719, 0.40235469),
        (0.50019687, 0.56044219),
        (0.38710391, 0.72160547),
        (0.61507734, 0.72034453),
    ),
    "dfl_whole_face": (
        (0.35342266, 0.39285716),
        (0.62797622, 0.39285716),
        (0.48660713, 0.5401786),
        (0.38839287, 0.68750011),
        (0.59821427, 0.68750011),
    ),
    "ffhq_512": (
        (0.37691676, 0.46864664),
        (0.62285697, 0.46912813),
        (0.50123859, 0.61331904),
        (0.39308822, 0.725411),
        (0.61150205, 0.72490465),
    ),
    "mtcnn_512": (
        (0.36562865, 0.46733799),
        (0.63305391, 0.46585885),
        (0.50019127, 0.61942959),
        (0.39032951, 0.77598822),
        (0.61178945, 0.77476328),
    ),
    "styleganex_384": (
        (0.42353745, 0.52289879),
        (0.57725008, 0.52319972),
        (0.50123859, 0.61331904),
        (0.43364461, 0.68337652),
        (0.57015325, 0.68306005),
    ),
}


def _frozen(points: tuple[tuple[float, float], ...]) -> npt.NDArray[np.float64]:
    array = np.array(points, dtype=np.float64)
    array.setflags(write=False)
    return array


TEMPLATES: Final[dict[str, npt.NDArray[np.float64]]] = {name: _frozen(points) for name, points in _POINTS.items()}


Array = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Sample = TypeVar("Sample", bound=np.integer[Any] | np.floating[Any])

# A large face is first shrunk by a whole factor, but stays larger than the crop by 1 over this: several times
# as fast as sampling each of its pixels.
_COARSE = 0.5


def estimate_alignment(keypoints: Array, template: str, size: int) -> Matrix:
    """Estimate the similarity that brings the keypoints of a frame onto a template, by least squares.

    Args:
        keypoints: (5, 2) px of the frame, in the template's order.
        template: A key of TEMPLATES; KeyError for an unknown one.
        size: Side of the square crop in px.

    Returns:
        (2, 3), frame to crop.

    Raises:
        ValueError: The points lie in one place, or are not finite.
    """
    return _least_squares(np.asarray(keypoints, dtype=np.float64), TEMPLATES[template] * size)


def template_transform(template_a: str, size_a: int, template_b: str, size_b: int) -> Matrix:
    """Return the similarity from a crop on one template to a crop on another.

    Args:
        template_a: The first crop's, a key of TEMPLATES.
        size_a: Its side in px.
        template_b: The second crop's.
        size_b: Its side in px.

    Returns:
        (2, 3), crop a to crop b.
    """
    return _least_squares(TEMPLATES[template_a] * size_a, TEMPLATES[template_b] * size_b)


def invert_transform(matrix: Matrix) -> Matrix:
    """Return the matrix (2, 3) that undoes `matrix` (2, 3)."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(matrix, dtype=np.float64)), dtype=np.float64)


def transform_points(points: Array, matrix: Matrix) -> Array:
    """Transform points by a matrix.

    Args:
        points: (..., 2) px, or (..., 3) with a depth in px, which is multiplied by the matrix's scale, so that it stays
            in px of the new picture.
        matrix: (2, 3).

    Returns:
        Same shape and dtype as `points`.
    """
    points = np.asarray(points)
    flat = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[-1] == 3:
        flat = np.concatenate([flat, points[..., 2:] * transform_scale(matrix)], axis=-1)
    return flat.astype(points.dtype if np.issubdtype(points.dtype, np.floating) else np.float64)


def transform_scale(matrix: Matrix) -> float:
    """Return how many px of the second picture one px of the first becomes."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def warp_face(image: npt.NDArray[Sample], matrix: Matrix, size: int) -> npt.NDArray[Sample]:
    """Cut an aligned crop out of an image.

    Where the crop is smaller than what it shows, its pixels are means of the image's: no aliasing. Outside the image
    its border is repeated.

    Args:
        image: (H, W, C), or (H, W) for one plane; uint8, uint16 or float32.
        matrix: (2, 3), frame to crop.
        size: Side of the crop in px.

    Returns:
        (size, size, C) or (size, size), of the same type.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    shrink = int(_COARSE / transform_scale(matrix))
    if shrink > 1:
        image, matrix = _shrink(image, matrix, size, shrink)
    samples = max(math.ceil(1.0 / transform_scale(matrix) - 1e-6), 1)
    fine = matrix * samples
    fine[:, 2] += (samples - 1) / 2
    crop = cv2.warpAffine(
        image, fine, (size * samples, size * samples), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if samples > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=image.dtype)


def _shrink(image: npt.NDArray[Sample], matrix: Matrix, size: int, k: int) -> tuple[npt.NDArray[Sample], Matrix]:
    """Return the part of the image that the crop shows, in means of k by k pixels, and its matrix to the crop."""
    sides = np.array([image.shape[1], image.shape[0]])
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
    seen = transform_points(corners, invert_transform(matrix))
    low = np.clip(np.floor(seen.min(0)).astype(int) - 2 * k, 0, sides - 1)
    high = np.clip(np.ceil(seen.max(0)).astype(int) + 2 * k, low + 1, sides)
    right, bottom = (low - high) % k
    part = cv2.copyMakeBorder(
        image[low[1] : high[1], low[0] : high[0]], 0, int(bottom), 0, int(right), cv2.BORDER_REPLICATE
    )
    small = cv2.resize(part, (part.shape[1] // k, part.shape[0] // k), interpolation=cv2.INTER_AREA)
    turn = matrix[:, :2]
    return np.asarray(small, dtype=image.dtype), np.column_stack([turn * k, turn @ (low + (k - 1) / 2) + matrix[:, 2]])


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
