"""Which regions of a person's faces show the person, and which are covered by something else.

A hand, hair or a cup before the face is a thing that most pictures do not show: a region that lies far from the median
of all pictures, light left aside, is covered.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import masks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample
from facesmith.faces.geometry.topology import REGIONS as REGIONS

Floats = NDArray[np.float32]

SEEN_AT: Final = 64
"""Px at which pictures are compared."""
_SMOOTHING: Final = 3e-4
# mean distance to the median picture, in units of the face's contrast: broad smiles and shut eyes stay below
_COVERED: Final = (0.60, 0.55, 0.46, 0.55, 0.55)


def find_visible_regions(faces: AlignedFaces, canonical: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Find the regions of each face that show the person and nothing before it.

    Args:
        faces: N faces of one person.
        canonical: (478,2+) canonical places of the landmarks, px of the crop.

    Returns:
        (N,5), of REGIONS.
    """
    return np.asarray(measure_distances(faces, canonical) <= np.array(_COVERED), np.bool_)


def measure_distances(faces: AlignedFaces, canonical: NDArray[np.floating]) -> Floats:
    """Measure how far each region of each face is from the person's median picture.

    Args:
        faces: N faces of one person.
        canonical: (478,2+) canonical places of the landmarks, px of the crop.

    Returns:
        (N,5) mean absolute difference of colours, in units of the face's contrast, of REGIONS.
    """
    parts = masks.divide_face(to_seen_at(canonical, faces.size), SEEN_AT)
    stack = bring_to_canonical(faces, canonical)
    distance = np.abs(stack - np.median(stack, axis=0)).mean(-1)
    return np.stack([distance[:, part].mean(1) for part in parts], 1).astype(np.float32)


def bring_to_canonical(faces: AlignedFaces, canonical: NDArray[np.floating]) -> Floats:
    """Bring faces to one place, free of the colour of their light.

    Args:
        faces: N faces.
        canonical: (478,2+) canonical places of the landmarks, px of the crop.

    Returns:
        (N,SEEN_AT,SEEN_AT,3) RGB; each channel has mean 0 and contrast 1 within the face's outline.
    """
    unit = SEEN_AT / faces.size
    points = to_seen_at(canonical, faces.size)
    hull = masks.outline_mask(points, SEEN_AT) > 0.5
    pictures = []
    for image, landmarks in zip(faces.images, faces.landmarks, strict=True):
        small = cv2.resize(image, (SEEN_AT, SEEN_AT), interpolation=cv2.INTER_AREA)
        where = compute_warp_maps(points, ((landmarks + 0.5) * unit - 0.5)[None], SEEN_AT, smoothing=_SMOOTHING)[0]
        picture = resample(small, where)
        inside = picture[hull]
        pictures.append((picture - inside.mean(0)) / np.maximum(inside.std(0), 1.0))
    return np.stack(pictures).astype(np.float32)


def to_seen_at(points: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Bring landmarks (478,2+) from px of a crop of `size` to px of one of SEEN_AT."""
    return np.asarray((points + 0.5) * (SEEN_AT / size) - 0.5)
