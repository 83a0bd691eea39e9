"""Which regions of a person's faces show the person, and which something covers, blurs or cuts off.

A hand, hair or a cup before the face is a thing that most pictures do not show: a region that lies far from the median
of all pictures, light left aside, is covered. What most pictures show (glasses that are always worn) is the person's.
`benchmarks/visible_regions.py` shows where the limits come from.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, fit_similarity, resample
from facesmith.faces.geometry.topology import REGIONS as REGIONS
from facesmith.media.sampling import evenly_spaced

Floats = NDArray[np.float32]

SEEN_AT: Final = 64
"""Px at which pictures are compared."""
_SMOOTHING: Final = 3e-4
_MEDIAN_OF: Final = 300  # faces, evenly spaced, that the median is taken of
_CHUNK: Final = 100  # faces in memory at a time
_LIGHT_STEPS: Final = 3
_FOREIGN: Final = 0.2  # a difference from which on a pixel counts half when light is fitted
_RIDGE: Final = 1e-3  # keeps light as it is where nothing asks for a change
_LIPS_REACH: Final = 2.5 / 128  # around the inner lips: teeth, tongue and dark are the person's
# where expressions move edges, a pixel may look like its neighbour in the median
_TOLERANT: Final = ("mouth", "cheeks")
_TWO_SIDED: Final = ("eyes", "cheeks")  # their worse side counts
# eyes, nose, mouth, cheeks, forehead: distance from which on a region is covered; and where another one is
_COVERED: Final = np.array((0.55, 0.27, 0.077, 0.17, 0.45))
_COVERED_TOO: Final = np.array((0.47, 0.24, 0.062, 0.086, 0.30))
_EYES_BESIDE_NOSE: Final = 0.33  # of the eyes, where the nose is covered: a fingertip in the corner of an eye is small
_SHORTLY: Final = 1.0  # seconds
# lips that are this far from their mean shape (of the crop's side) laugh or shout: what is farther allows the mouth
# more of a distance, in proportion
_EXPRESSIVE: Final = 3 / 128
_ALLOWED: Final = 0.3 * 128
_SHARPNESS_SEEN_AT: Final = 128
# of the person's median sharpness: the whole face (geometric mean over the regions that have detail), and a region
_BLURRED_FACE, _BLURRED_REGION = 0.62, 0.33
_DETAILED: Final = [REGIONS.index(region) for region in ("eyes", "nose", "mouth", "cheeks")]
_MOST_BEYOND: Final = 0.1  # of a region's landmarks


@dataclass(frozen=True)
class MedianPicture:
    """What most of a person's pictures show, in canonical coordinates.

    Attributes:
        points: (478,3) canonical places of the landmarks, px of SEEN_AT.
        parts: (5,SEEN_AT,SEEN_AT) of REGIONS.
        picture: (SEEN_AT,SEEN_AT,3) colours of mean 0 in units of the face's contrast.
    """

    points: Floats
    parts: NDArray[np.bool_]
    picture: Floats

    @classmethod
    def estimate(cls, faces: AlignedFaces, canonical: NDArray[np.floating]) -> "MedianPicture":
        """Estimate the median of a person's pictures, their light evened out.

        Args:
            faces: N faces of one person.
            canonical: (478,3) canonical places of the landmarks, px of the crop.
        """
        points = ((canonical + 0.5) * (SEEN_AT / faces.size) - 0.5).astype(np.float32)
        parts = masks.divide_face(points, SEEN_AT)
        hull = np.asarray(parts.any(0))
        some = faces[evenly_spaced(len(faces), _MEDIAN_OF, ends=True)]
        even = pictures = _standardise(_to_canonical(some, points), hull)
        for _ in range(_LIGHT_STEPS):
            even = _fit_light(pictures, even, np.median(even, axis=0), hull)
        return cls(points, parts, np.median(even, axis=0).astype(np.float32))


def find_visible_regions(faces: AlignedFaces, canonical: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Find the regions of each face that show the person, sharp and with nothing before it.

    With one or two faces nothing can be said, and all of it counts as visible.

    Args:
        faces: N faces of one person.
        canonical: (478,3) canonical places of the landmarks, px of the crop.

    Returns:
        (N,5), of REGIONS.
    """
    if not len(faces):
        return np.ones((0, len(REGIONS)), np.bool_)
    distances = measure_distances(faces, MedianPicture.estimate(faces, canonical))
    return ~find_covered(distances) & ~find_blurred(measure_sharpness(faces))


def measure_distances(faces: AlignedFaces, median: MedianPicture) -> Floats:
    """Measure how far each region of each face is from the person's median picture.

    Args:
        faces: N faces.
        median: Of the person.

    Returns:
        (N,5) mean absolute difference of colours, in units of the face's contrast, of REGIONS; less for a mouth that
        laughs or shouts.
    """

    def measure(some: AlignedFaces) -> Floats:
        return _compare(_to_canonical(some, median.points), median)

    chunks = (faces[first : first + _CHUNK] for first in range(0, len(faces), _CHUNK))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        distances = np.concatenate([np.empty((0, len(REGIONS)), np.float32), *threads.map(measure, chunks)])
    distances[:, REGIONS.index("mouth")] /= 1 + _ALLOWED * _measure_expression(faces, median.points)
    return distances


def find_covered(distances: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Decide which regions are covered: far from the median, or not so near while another region is far.

    Args:
        distances: (N,5), see `measure_distances`.

    Returns:
        (N,5).
    """
    far = distances > _COVERED
    others = far.sum(1, keepdims=True) - far > 0
    found = np.asarray(far | (others & (distances > _COVERED_TOO)), np.bool_)
    eyes, nose = REGIONS.index("eyes"), REGIONS.index("nose")
    found[:, eyes] |= far[:, nose] & (distances[:, eyes] > _EYES_BESIDE_NOSE)
    return found


def follow_covered(
    covered: NDArray[np.bool_],
    distances: NDArray[np.floating],
    tracks: NDArray[np.integer],
    times: NDArray[np.floating],
) -> NDArray[np.bool_]:
    """Find what is covered shortly before and after: not so near the median, beside a moment when it is covered.

    A hand that comes and goes is nearest to the face's own look at both ends.

    Args:
        covered: (N,5), see `find_covered`.
        distances: (N,5), see `measure_distances`.
        tracks: (N,) number of the track.
        times: (N,) seconds, NaN for stills.

    Returns:
        (N,5).
    """
    found, likely = covered.copy(), distances > _COVERED_TOO
    order = np.lexsort((times, tracks))
    before, after = order[:-1], order[1:]
    joined = (tracks[before] == tracks[after]) & (times[after] - times[before] <= _SHORTLY)
    pairs = [*zip(before[joined], after[joined], strict=True)]
    for here, there in (*pairs, *((after, before) for before, after in reversed(pairs))):
        found[there] |= found[here] & likely[there]
    return found


def measure_sharpness(faces: AlignedFaces) -> Floats:
    """Measure the sharpness of each region of each face.

    Args:
        faces: N faces.

    Returns:
        (N,5) standard deviation of the Laplacian at 128 px over that of the face, of REGIONS; NaN where a region is
        turned away.
    """
    size = _SHARPNESS_SEEN_AT
    found = np.full((len(faces), len(REGIONS)), np.nan, np.float32)
    for row, (image, landmarks) in enumerate(zip(faces.images, faces.landmarks, strict=True)):
        grey = cv2.cvtColor(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        edges = cv2.Laplacian(grey, cv2.CV_32F)
        parts = masks.divide_face((landmarks + 0.5) * (size / faces.size) - 0.5, size)
        contrast = max(float(grey[parts.any(0)].std()) if parts.any() else 0.0, 1.0)
        for number, part in enumerate(parts):
            if part.sum() > size:
                found[row, number] = edges[part].std() / contrast
    return found


def find_blurred(sharpness: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Decide which regions are blurred, compared with the person's other pictures.

    Args:
        sharpness: (N,5), see `measure_sharpness`.

    Returns:
        (N,5).
    """
    seen = np.where(np.isnan(sharpness).all(0), 1.0, sharpness)
    share = np.log(np.maximum(sharpness, 1e-6) / np.maximum(np.nanmedian(seen, axis=0), 1e-6))
    known = ~np.isnan(share)
    regions = np.where(known, share, 0.0)
    face = regions[:, _DETAILED].sum(1, keepdims=True) / np.maximum(known[:, _DETAILED].sum(1, keepdims=True), 1)
    return np.asarray((face < np.log(_BLURRED_FACE)) | (regions < np.log(_BLURRED_REGION)), np.bool_)


def find_inside(
    landmarks: NDArray[np.floating], picture_sizes: NDArray[np.integer], canonical: NDArray[np.floating], size: int
) -> NDArray[np.bool_]:
    """Find the regions of faces that lie inside of their pictures.

    Args:
        landmarks: (N,478,2+) px of the picture.
        picture_sizes: (N,2) widths and heights of the pictures in px.
        canonical: (478,2+) canonical places of the landmarks, px of a crop of `size`.
        size: Side of that crop in px.

    Returns:
        (N,5): at most a tenth of a region's landmarks lies beyond the border, of REGIONS.
    """
    flat = landmarks[..., :2]
    beyond = np.asarray(((flat < 0) | (flat > picture_sizes[:, None] - 1)).any(-1))
    of_region = masks.assign_landmarks(canonical, size)
    shares = [beyond[:, of_region == number].mean(1) for number in range(len(REGIONS))]
    return np.asarray(np.stack(shares, 1) <= _MOST_BEYOND, np.bool_)


def _to_canonical(faces: AlignedFaces, points: Floats) -> Floats:
    """Bring faces to canonical coordinates: (n,SEEN_AT,SEEN_AT,3), 0..255."""
    unit = SEEN_AT / faces.size
    maps = compute_warp_maps(points, (faces.landmarks + 0.5) * unit - 0.5, SEEN_AT, smoothing=_SMOOTHING)
    small = (cv2.resize(image, (SEEN_AT, SEEN_AT), interpolation=cv2.INTER_AREA) for image in faces.images)
    return np.stack([resample(np.asarray(image, np.uint8), where) for image, where in zip(small, maps, strict=True)])


def _measure_expression(faces: AlignedFaces, points: Floats) -> NDArray[np.float64]:
    """Measure how much farther than usual the lips are from their mean shape: (N,), of the crop's side."""
    usual = points[:, :2] * (faces.size / SEEN_AT)
    moved = np.linalg.norm(fit_similarity(faces.landmarks[..., :2], usual) - usual, axis=-1)
    return np.maximum(moved[:, topology.MOUTH].mean(1) / faces.size - _EXPRESSIVE, 0)


def _standardise(pictures: Floats, hull: NDArray[np.bool_]) -> Floats:
    """Bring each channel to mean 0 and deviation 1 inside the hull."""
    inside = pictures[:, hull]
    mean, deviation = inside.mean(1), np.maximum(inside.std(1), 1)
    return np.asarray((pictures - mean[:, None, None]) / deviation[:, None, None], np.float32)


def _fit_light(pictures: Floats, even: Floats, median: Floats, hull: NDArray[np.bool_]) -> Floats:
    """Fit the light of pictures to the median's: gain and offset of each channel, both with a slope across the face.

    Pixels that are far from the median weigh little.

    Args:
        pictures: (n,S,S,3), standardised.
        even: (n,S,S,3), the same as fitted before.
        median: (S,S,3).
        hull: (S,S), the pixels that count.
    """
    axis = np.arange(SEEN_AT, dtype=np.float32) / SEEN_AT - 0.5
    slopes = np.stack([np.ones_like(hull, np.float32), *np.meshgrid(axis, axis)], -1)
    channels = pictures.transpose(0, 3, 1, 2)[..., None]
    terms = np.concatenate([channels * slopes, np.broadcast_to(slopes, (*channels.shape[:-1], 3))], -1)
    away = np.abs(even[:, hull] - median[hull]).mean(-1)
    weight = (1 / (1 + (away / _FOREIGN) ** 2) / hull.sum())[:, None, :, None]
    inside, wanted = terms[:, :, hull], median[hull].T[None, :, :, None]
    weighted = (inside * weight).swapaxes(-1, -2)
    unchanged = np.array([1, 0, 0, 0, 0, 0], np.float32)[:, None] * _RIDGE
    found = np.linalg.solve(weighted @ inside + _RIDGE * np.eye(6, dtype=np.float32), weighted @ wanted + unchanged)
    return np.asarray((terms @ found[:, :, None])[..., 0].transpose(0, 2, 3, 1), np.float32)


def _compare(pictures: Floats, median: MedianPicture) -> Floats:
    """Measure the distances (n,5) of canonical pictures."""
    hull = np.asarray(median.parts.any(0))
    even = pictures = _standardise(pictures, hull)
    for _ in range(_LIGHT_STEPS):
        even = _fit_light(pictures, even, median.picture, hull)
    near = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    above, below = cv2.dilate(median.picture, near), cv2.erode(median.picture, near)
    strict = np.abs(even - median.picture).mean(-1)
    tolerant = np.maximum(np.maximum(even - above, below - even), 0).mean(-1)
    lips = masks.draw_hull(median.points[topology.LIPS_INNER], SEEN_AT, _LIPS_REACH * SEEN_AT) > 0.5
    left = np.arange(SEEN_AT)[None] < median.points[topology.MIDLINE, 0].mean()
    columns = []
    for name, part in zip(REGIONS, median.parts & ~lips, strict=True):
        away = tolerant if name in _TOLERANT else strict
        sides = (part & left, part & ~left) if name in _TWO_SIDED else (part,)
        columns.append(np.max([away[:, side].mean(1) for side in sides], axis=0))
    return np.stack(columns, 1).astype(np.float32)
