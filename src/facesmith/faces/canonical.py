"""A person's pictures in canonical coordinates: which are kept, and what of each shows the person."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facesmith.faces.geometry import colour, masks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser, sample_farthest
from facesmith.faces.visibility import find_visible_regions

Floats = NDArray[np.float32]

_SMOOTHING: Final = 3e-4
_RELIGHT, _LIGHT_SIGMA = 0.8, 11 / 128
_COMMON_HUE: Final = 0.8
_NEIGHBOURS: Final = 10  # of a landmark, for its normal


@dataclass(frozen=True)
class PersonPictures:
    """K pictures of one person, each in canonical coordinates.

    Attributes:
        pictures: (K,T,T,3) uint8 RGB.
        landmarks: (K,478,2) of the frames they were taken from, in the crop, -1..1 from edge to edge.
        usable: (K,3) whether eyes with brows, mouth, and the rest show nothing but the person.
        canonical: (478,3) canonical places of the landmarks, -1..1, depth in the same unit.
        normals: (478,3) outward normals of the face there.
        regions: (2,T,T) in 0..1, eyes with brows, and mouth.
        core: (T,T) in 0..1, the skin that colour is measured on.
        alpha: (T,T) in 0..1, the face's outline with a soft rim.
    """

    pictures: NDArray[np.uint8]
    landmarks: Floats
    usable: NDArray[np.bool_]
    canonical: Floats
    normals: Floats
    regions: Floats
    core: Floats
    alpha: Floats


def build_person_pictures(person: AlignedFaces, count: int) -> PersonPictures:
    """Choose the most different pictures of a person, mirror images among them, and bring them to one place.

    Args:
        person: The person's faces; T is their size.
        count: K.

    Returns:
        The pictures, of one colour and light, so that they mix unseen.

    Raises:
        ValueError: There is no face.
    """
    if not len(person):
        raise ValueError("a person needs at least one picture")
    both = AlignedFaces.concat([person, person.mirror()])
    chooser = FrameChooser(both)
    eyes, nose, mouth, cheeks, forehead = (both.visible & find_visible_regions(both, chooser.canonical)).T
    usable = np.stack([eyes, mouth, nose & cheeks & forehead], 1)
    rows = _choose(chooser, usable, count)
    size = person.size
    core = masks.skin_mask(chooser.canonical, size)
    regions = masks.eyes_and_mouth_masks(chooser.canonical, size)
    maps = (
        compute_warp_maps(chooser.canonical, both.landmarks[row, None], size, smoothing=_SMOOTHING)[0] for row in rows
    )
    pictures = [resample(both.images[row], where) for row, where in zip(rows, maps, strict=True)]
    even = colour.equalise_light(pictures, core, _RELIGHT, _LIGHT_SIGMA * size)
    # not in the mouth, where lips in one picture are teeth in another
    even = colour.equalise_hue(even, _COMMON_HUE * (1 - regions[1]))
    return PersonPictures(
        pictures=np.clip(np.rint(np.stack(even)), 0, 255).astype(np.uint8),
        landmarks=_to_unit(both.landmarks[rows, :, :2], size),
        usable=usable[rows],
        canonical=np.concatenate(
            [_to_unit(chooser.canonical[:, :2], size), chooser.canonical[:, 2:] * np.float32(2 / size)], axis=1
        ).astype(np.float32),
        normals=estimate_normals(chooser.canonical),
        regions=regions,
        core=core,
        alpha=masks.feathered_outline_mask(chooser.canonical, size),
    )


def estimate_normals(points: NDArray[np.floating]) -> Floats:
    """Estimate the outward normals of a face seen from the front.

    Args:
        points: (P,3), the nearer the smaller z.

    Returns:
        (P,3) of unit length: of the plane through the nearest points, away from the middle of the head.
    """
    _, near = cKDTree(points).query(points, k=_NEIGHBOURS)
    around = points[near] - points[near].mean(1, keepdims=True)
    normals = np.linalg.svd(around)[2][:, 2]
    inside = points.mean(0) + np.array([0, 0, np.ptp(points[:, 0]) / 2])
    outwards = np.sign(((points - inside) * normals).sum(1, keepdims=True))
    return np.asarray(normals * outwards, np.float32)


def _choose(chooser: FrameChooser, usable: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Choose dissimilar rows, complete faces first, then partly usable ones."""
    whole, some = np.flatnonzero(usable.all(1)), np.flatnonzero(usable.any(1))
    rows = whole if len(whole) else some if len(some) else np.arange(len(usable))
    return np.asarray(rows[sample_farthest(chooser.features()[rows], count)], np.intp)


def _to_unit(points: NDArray[np.floating], size: int) -> Floats:
    """Bring px of a crop (pixel centres at whole numbers) to -1..1 from edge to edge."""
    return ((points + 0.5) * (2 / size) - 1).astype(np.float32)
