"""A person's pictures in canonical coordinates: which are kept for eyes, mouth and the rest of the face."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facesmith.faces.geometry import colour, masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser, sample_varied

Floats = NDArray[np.float32]

PARTS: Final = ("eyes", "mouth", "rest")
"""What is chosen for itself: eyes with brows, mouth, the rest of the face."""
_NEEDED: Final = (("eyes",), ("mouth",), ("nose", "cheeks", "forehead"))  # regions each part must show
_SMOOTHING: Final = 3e-4
_RELIGHT, _LIGHT_SIGMA = 0.8, 11 / 128
_COMMON_HUE: Final = 0.8
_RIM: Final = 0.25  # of the rim's usual width: the identity reaches to the face's edge
_FROWN_SEEN_AT: Final = 128  # px
# rest pictures are at most so much more wrinkled between the brows than this quantile of all
_FROWN, _CALM = 1.25, 0.2
# levels of 255 by which a picture is far from the median, blurred: from where on, and wholly
_ODD, _ODD_SIGMA = (14.0, 30.0), 2 / 128
_NEIGHBOURS: Final = 10  # of a landmark, for its normal


@dataclass(frozen=True)
class PersonPictures:
    """K pictures of one person in canonical coordinates; eyes, mouth and the rest of each are from different frames.

    Attributes:
        pictures: (K,T,T,3) uint8 RGB.
        landmarks: (3,K,478,2) of the frames that eyes, mouth and the rest come from, in the crop, -1..1 from edge to
            edge.
        expressions: (3,K,52) blendshapes of these frames.
        canonical: (478,3) canonical places of the landmarks, -1..1, depth in the same unit.
        normals: (478,3) outward normals of the face there.
        regions: (2,T,T) in 0..1, eyes with brows, and mouth.
        core: (T,T) in 0..1, the skin that colour is measured on.
        alpha: (T,T) in 0..1, the face's outline with a soft rim.
    """

    pictures: NDArray[np.uint8]
    landmarks: Floats
    expressions: Floats
    canonical: Floats
    normals: Floats
    regions: Floats
    core: Floats
    alpha: Floats


def build_person_pictures(person: AlignedFaces, count: int) -> PersonPictures:
    """Choose the most different eyes, mouths and faces of a person, mirror images among them, and bring them together.

    Args:
        person: The person's faces; T is their size. Regions that are not visible are not used.
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
    rows = _choose(both, chooser, count)
    size = person.size
    core = masks.skin_mask(chooser.canonical, size)
    regions = masks.eyes_and_mouth_masks(chooser.canonical, size)
    pictures = [_compose(both, chooser.canonical, frames, regions, core) for frames in rows.T]
    even = colour.equalise_light(pictures, core, _RELIGHT, _LIGHT_SIGMA * size)
    # not in the mouth, where lips in one picture are teeth in another
    even = colour.equalise_hue(even, _COMMON_HUE * (1 - regions[1]))
    mended = _mend(np.stack(even), 1 - regions.max(0))
    depth = chooser.canonical[:, 2:] * (2 / size)
    return PersonPictures(
        pictures=np.clip(np.rint(mended), 0, 255).astype(np.uint8),
        landmarks=_to_unit(both.landmarks[rows][..., :2], size),
        expressions=both.blendshapes[rows].astype(np.float32),
        canonical=np.concatenate([_to_unit(chooser.canonical[:, :2], size), depth], axis=1).astype(np.float32),
        normals=estimate_normals(chooser.canonical),
        regions=regions,
        core=core,
        alpha=masks.feathered_outline_mask(chooser.canonical, size, rim=_RIM),
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


def measure_frowns(faces: AlignedFaces) -> Floats:
    """Measure how wrinkled the skin between the brows is.

    Args:
        faces: N faces.

    Returns:
        (N,) deviation of its fine structure (1 to 4 px of a crop of 128) by that of the whole face.
    """
    side = min(faces.size, _FROWN_SEEN_AT)
    scale = side / faces.size
    wrinkled = []
    for image, landmarks in zip(faces.images, faces.landmarks, strict=True):
        points = (landmarks[:, :2] + 0.5) * scale - 0.5
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine = cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 4)
        between = masks.draw_hull(points[topology.GLABELLA], side, 2) > 0.5
        whole = masks.outline_mask(points, side) > 0.5
        wrinkled.append(fine[between].std() / max(float(grey[whole].std()), 1.0) if between.any() else 0.0)
    return np.array(wrinkled, np.float32)


def _choose(faces: AlignedFaces, chooser: FrameChooser, count: int) -> NDArray[np.intp]:
    """Choose varied frames (3,K) for eyes, mouth and the rest, with nothing before that part if there are any."""
    columns = []
    frown = measure_frowns(faces)
    for part, needed, features in zip(PARTS, _NEEDED, chooser.part_features(), strict=True):
        seen = faces.visible[:, [topology.REGIONS.index(region) for region in needed]]
        free = np.flatnonzero(seen.all(1))
        rows = free if len(free) else np.flatnonzero(seen.sum(1) == seen.sum(1).max())
        if part == "rest":
            # no mesh and no blendshape sees a frown, which would then be on every face
            rows = rows[frown[rows] <= _FROWN * np.quantile(frown[rows], _CALM)]
        columns.append(rows[sample_varied(features[rows], count)])
    return np.stack(columns)


def _compose(
    faces: AlignedFaces,
    canonical: NDArray[np.floating],
    frames: NDArray[np.intp],
    regions: Floats,
    core: Floats,
) -> Floats:
    """Compose the eyes and the mouth of two frames onto the face of a third, in canonical coordinates."""
    size = faces.size
    maps = compute_warp_maps(canonical, faces.landmarks[frames], size, smoothing=_SMOOTHING)
    eyes, mouth, picture = (resample(faces.images[row], where) for row, where in zip(frames, maps, strict=True))
    whole = picture.copy()
    for part, region in ((eyes, regions[0]), (mouth, regions[1])):
        matched = colour.match_colour(part, picture, core, _RELIGHT, _LIGHT_SIGMA * size)
        whole += (matched - whole) * region[..., None]
    return whole


def _mend(pictures: Floats, where: Floats) -> Floats:
    """Put the median of aligned pictures where one is far from it: a strand of hair, a side that was turned away.

    Args:
        pictures: (K,T,T,3) of one light, 0..255.
        where: (T,T) in 0..1, how much may be changed.
    """
    median = np.median(pictures, axis=0)
    mended = []
    for picture in pictures:
        apart = cv2.GaussianBlur(np.abs(picture - median).mean(-1), (0, 0), _ODD_SIGMA * len(picture))
        share = np.clip((apart - _ODD[0]) / (_ODD[1] - _ODD[0]), 0, 1) * where
        mended.append(picture + share[..., None] * (median - picture))
    return np.stack(mended)


def _to_unit(points: NDArray[np.floating], size: int) -> Floats:
    """Bring px of a crop (pixel centres at whole numbers) to -1..1 from edge to edge."""
    return ((points + 0.5) * (2 / size) - 1).astype(np.float32)
