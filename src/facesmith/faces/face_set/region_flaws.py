"""What hides regions of the kept faces of a face set: something before them, blur, or the picture's border."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.mean_shape import estimate_mean_shape
from facesmith.faces.geometry.topology import LANDMARKS, REGIONS
from facesmith.faces.hidden_share import find_hidden, measure_hidden_shares
from facesmith.faces.visibility import (
    MedianPicture,
    find_blurred,
    find_covered,
    find_inside,
    follow_covered,
    measure_distances,
    measure_sharpness,
)

COVERED: Final = "covered"
BLURRED: Final = "blurred"
CUT_OFF: Final = "cut off"
"""Outside of the picture."""
KINDS: Final = (COVERED, BLURRED, CUT_OFF)

FEWEST_COMPARED: Final = 5
"""With fewer pictures, what a person always wears cannot be told from what covers the face for a moment."""

_TEMPLATE, _SIZE = "arcface_128", 128

Flaws = NDArray[np.object_]


def no_flaws(count: int) -> Flaws:
    """Return (count,5) of None: every region of every face is visible."""
    return np.full((count, len(REGIONS)), None, object)


def is_visible(flaws: Flaws) -> NDArray[np.bool_]:
    """Return which regions (N,5) nothing hides."""
    return np.array([flaw is None for flaw in flaws.flat], np.bool_).reshape(flaws.shape)


def find_flaws(
    crops: Sequence[Path],
    landmarks: NDArray[np.floating],
    matrices: NDArray[np.floating],
    crop_size: int,
    tracks: NDArray[np.integer],
    times: NDArray[np.floating],
    picture_sizes: NDArray[np.integer] | None,
) -> Flaws:
    """Find what hides regions of a person's faces.

    Args:
        crops: Files of N crops.
        landmarks: (N,478,3) px of the pictures, as found.
        matrices: (N,2,3) pictures to crops.
        crop_size: Side of a crop in px.
        tracks: (N,) number of the track.
        times: (N,) seconds, NaN for stills.
        picture_sizes: (N,2) widths and heights of the pictures in px; None: not known, nothing is cut off.

    Returns:
        (N,5) of `topology.REGIONS`: COVERED, BLURRED, CUT_OFF, or None where the region is visible.

    Raises:
        UserError: A crop is damaged.
    """
    flaws = no_flaws(len(crops))
    if not len(crops):
        return flaws
    faces = _align(crops, landmarks, matrices, crop_size)
    shape = estimate_mean_shape(faces)
    shares = measure_hidden_shares(faces)
    if len(faces) < FEWEST_COMPARED:
        hidden = find_hidden(shares)
        hidden[:, REGIONS.index("forehead")] = (
            False  # what lies there in one picture is mostly a fringe, the person's own
        )
        flaws[hidden] = COVERED
    else:
        flaws[find_hidden(shares - np.median(shares, axis=0))] = COVERED
        distances = measure_distances(faces, MedianPicture.estimate(faces, shape))
        flaws[follow_covered(find_covered(distances), distances, tracks, times)] = COVERED
        flaws[find_blurred(measure_sharpness(faces))] = BLURRED
    if picture_sizes is not None:
        flaws[~find_inside(landmarks, picture_sizes, shape, _SIZE)] = CUT_OFF
    return flaws


def _align(
    crops: Sequence[Path], landmarks: NDArray[np.floating], matrices: NDArray[np.floating], crop_size: int
) -> AlignedFaces:
    images = np.empty((len(crops), _SIZE, _SIZE, 3), np.uint8)
    moved = np.empty((len(crops), LANDMARKS, 3), np.float32)
    for row, (path, points, matrix) in enumerate(zip(crops, landmarks, matrices, strict=True)):
        # half the size is a quarter of the work, and enough
        half: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
        if half is None:
            raise UserError(f"{path}: is damaged; remove {path.parent.parent} and extract again")
        scale = half.shape[0] / crop_size
        in_half = (transform_points(points, matrix) + 0.5) * (scale, scale, scale) - (0.5, 0.5, 0.5 * scale)
        to_template = estimate_alignment(keypoints_from_landmarks(in_half), _TEMPLATE, _SIZE)
        images[row] = warp_face(np.ascontiguousarray(half[..., ::-1]), to_template, _SIZE)
        moved[row] = transform_points(in_half, to_template)
    return AlignedFaces(images, moved, np.zeros((len(crops), 52), np.float32), _TEMPLATE)
