"""Smooth warps between faces: a thin-plate spline through their landmarks."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import topology

_NODES: Final = 33  # the spline is solved on this grid and upsampled: it is smooth
_OUTLINE_REACH: Final = 14 / 128  # within this of the outline, proportions fade into the target's own
_WHOLES: Final = (
    topology.LEFT_EYE + topology.LEFT_IRIS,
    topology.RIGHT_EYE + topology.RIGHT_IRIS,
    topology.MOUTH,
)
_HIDDEN_NEAR: Final = 3 / 128  # a point this near another one in the picture ...
_HIDDEN_BEHIND: Final = 7 / 128  # ... and this much deeper is behind it (of the crop's side)
# features, plus every fourth point of the mesh: as good as all 478 and four times cheaper
CONTROL_POINTS: Final[NDArray[np.intp]] = np.unique(
    [
        *(topology.EYES + topology.BROWS + topology.MOUTH + topology.OVAL + topology.NOSE),
        *(topology.IRISES + list(range(0, topology.MESH, 4))),
    ]
)


def find_visible(landmarks: NDArray[np.floating], size: int) -> NDArray[np.bool_]:
    """Return which of the points (478, 3), in px of a crop of `size`, no other point hides; (478,)."""
    flat, depth = landmarks[:, :2], landmarks[:, 2]
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    hides = (distance < _HIDDEN_NEAR * size) & (depth[None] < depth[:, None] - _HIDDEN_BEHIND * size)
    return ~hides.any(1)


def compute_warp_maps(
    target: NDArray[np.floating],
    sources: NDArray[np.floating],
    size: int,
    *,
    smoothing: float,
    anchors: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Compute for each pixel of a target crop the place in each source crop that corresponds.

    One system is solved for all sources; the maps have no holes and extrapolate past the face.

    Args:
        target: (478, 3) landmarks in px of the target crop; points hidden behind others do not count.
        sources: (K, 478, 2 or 3) landmarks in px of the source crops.
        size: Side of the crops in px.
        smoothing: 0 passes through every point.
        anchors: (M, 2) px, places that stay where they are.

    Returns:
        (K, size, size, 2) x, y in px.
    """
    from scipy.interpolate import (  # half a second, which who reads a face set need not wait
        CubicSpline,
        RBFInterpolator,
    )

    chosen = CONTROL_POINTS[find_visible(target, size)[CONTROL_POINTS]]
    centres = target[chosen, :2]
    values = sources[:, chosen, :2].transpose(1, 0, 2)
    if anchors is not None:
        centres = np.concatenate([centres, anchors])
        values = np.concatenate([values, np.repeat(anchors[:, None], len(sources), 1)])
    nodes = np.linspace(0, size - 1, _NODES)
    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    spline = RBFInterpolator(
        centres / size,
        values.reshape(len(centres), -1) / size,
        kernel="thin_plate_spline",
        smoothing=smoothing,
    )
    coarse = (spline(grid / size) * size).reshape(_NODES, _NODES, -1)
    enlarge = CubicSpline(nodes, np.eye(_NODES))(np.arange(size))
    fine = np.einsum("yi,xj,ijc->yxc", enlarge, enlarge, coarse, optimize=True)
    return np.ascontiguousarray(fine.reshape(size, size, len(sources), 2).transpose(2, 0, 1, 3), np.float32)


def resample(image: NDArray[np.uint8], coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read a picture at given coordinates, bicubically; its border is mirrored.

    Args:
        image: (H, W, 3) uint8.
        coordinates: (S, S, 2) x, y in px.

    Returns:
        (S, S, 3) float32, 0..255.
    """
    picked = cv2.remap(image, coordinates[..., 0], coordinates[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return picked.astype(np.float32)


def fit_similarity(shapes: NDArray[np.floating], onto: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotate, scale and translate each shape onto another, by least squares.

    Args:
        shapes: (N, K, 2).
        onto: (K, 2).

    Returns:
        (N, K, 2).
    """
    centre, goal = shapes.mean(1, keepdims=True), onto.mean(0)
    a, b = (shapes - centre).astype(np.float64), (onto - goal).astype(np.float64)
    power = (a**2).sum((1, 2))
    cosine = (a * b).sum((1, 2)) / power
    sine = (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(1) / power
    x = cosine[:, None] * a[..., 0] - sine[:, None] * a[..., 1]
    y = sine[:, None] * a[..., 0] + cosine[:, None] * a[..., 1]
    return np.stack([x, y], -1) + goal


def blend_proportions(
    landmarks: NDArray[np.floating], other: NDArray[np.floating], size: int, share: float
) -> NDArray[np.floating]:
    """Blend a face's proportions towards another face's; the outline stays.

    Eyes and mouth move as wholes, so that their expression stays too.

    Args:
        landmarks: (478, 3) px.
        other: (478, 2+) px, the other face.
        size: Side of the crop in px.
        share: 0..1.

    Returns:
        (478, 3) px.
    """
    flat = landmarks[:, :2]
    shift = fit_similarity(other[None, :, :2], flat)[0] - flat
    for part in _WHOLES:
        shift[part] = shift[part].mean(0)
    to_outline = np.linalg.norm(flat[:, None] - flat[None, topology.OVAL], axis=-1).min(1)
    inside = np.clip(to_outline / (_OUTLINE_REACH * size), 0, 1)
    moved = landmarks.copy()
    moved[:, :2] += share * inside[:, None] * shift
    return moved
