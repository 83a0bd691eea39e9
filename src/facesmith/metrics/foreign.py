"""What a swapped face shows that neither person nor target does: a hand, stripes, features beside their place."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import compute_warp_maps, resample
from facesmith.faces.geometry.topology import REGIONS
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser
from facesmith.faces.visibility import find_visible_regions

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Plane = NDArray[np.float32]
Flags = NDArray[np.bool_]

_SIDE: Final = 128  # px of the canonical pictures
_SMOOTHING: Final = 3e-4
_NOISE_SIGMA: Final = 0.5  # px
_WINDOW: Final = 5  # px in which a picture explains the face by its light and contrast
_CONTRAST: Final = (0.4, 2.0)  # bounds of the change of contrast
_RIM: Final = 5  # px; what is nearer to the mask's rim is blended
_SKIN: Final = [REGIONS.index(name) for name in ("nose", "cheeks", "forehead")]
_EYES, _FOREHEAD = REGIONS.index("eyes"), REGIONS.index("forehead")
_AROUND_LIPS: Final = 2  # px
_AROUND_BROWS: Final = 2  # px
_LEAST: Final = 60  # px of a region, else it is not measured


@dataclass(frozen=True)
class Foreign:
    """What neither the person nor the target shows, in units of the face's contrast; nan where too little shows.

    Attributes:
        regions: (5) of `topology.REGIONS`, mean over each; lips are left out.
        stripes: On the skin, how much steeper it is across than along the picture, or the reverse.
    """

    regions: list[float]
    stripes: float


class PersonAppearance:
    """Pictures of a person in canonical coordinates, by which the faces are explained that the person is put on.

    Args:
        person: Frames of the person; in most of them each region shows nothing but the person.
    """

    def __init__(self, person: AlignedFaces) -> None:
        both = AlignedFaces.concat([person, person.mirror()])
        canonical = FrameChooser(both).canonical
        self._points = _to_side(canonical, person.size)
        self._parts = masks.divide_face(self._points, _SIDE)
        # lips, teeth and tongue look otherwise with every opening of the mouth
        lips = masks.draw_hull(self._points[topology.LIPS_OUTER], _SIDE, _AROUND_LIPS) > 0
        # and a raised brow reaches into the forehead
        around = np.ones((2 * _AROUND_BROWS + 1,) * 2, np.uint8)
        brows = cv2.dilate(self._parts[_EYES].astype(np.uint8), around) > 0
        self._measured = self._parts & ~lips
        self._measured[_FOREHEAD] &= ~brows
        shown = find_visible_regions(both, canonical) if both.visible.all() else both.visible
        shown |= ~shown.any(0)  # covered everywhere: nothing else is known
        # (N,S,S) where each picture shows the person
        self._shown = np.einsum("nr,rij->nij", shown.astype(np.float32), self._parts.astype(np.float32)) > 0
        self._light = [
            _lightness(self.bring(picture, self.locate(points, person.size)))
            for picture, points in zip(both.images, both.landmarks, strict=True)
        ]

    def locate(self, landmarks: Floats, size: int) -> NDArray[np.float32]:
        """Compute where in a crop each canonical pixel lies.

        Args:
            landmarks: (478,2+) px of the crop.
            size: Its side in px.

        Returns:
            (S,S,2) for `bring`.
        """
        return compute_warp_maps(self._points, _to_side(landmarks, size)[None], _SIDE, smoothing=_SMOOTHING)[0]

    def bring(self, picture: Pixels, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a crop (S,S,3) to canonical coordinates."""
        small = np.asarray(cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
        return resample(small, places)

    def find_foreign(
        self, swapped: Pixels, target: Pixels, mask: NDArray[np.floating], places: NDArray[np.float32]
    ) -> Foreign:
        """Measure what no picture of the person, nor the target, explains.

        Around each pixel the picture is sought that, with another light and contrast, comes nearest.

        Args:
            swapped: (S,S,3) RGB, the composite.
            target: (S,S,3) RGB, the same crop before.
            mask: (S,S) 0..1, where the swap shows.
            places: Of the target's landmarks, see `locate`.
        """
        face = self._parts.any(0)
        cover = cv2.resize(mask.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        covered = (np.asarray(cv2.remap(cover, places[..., 0], places[..., 1], cv2.INTER_LINEAR)) > 0.5) & face
        inside = cv2.erode(covered.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8)) > 0
        ours = _lightness(self.bring(swapped, places))
        contrast = max(float(ours[face].std()), 1e-3)
        spread, left = _explain(ours, self._light, self._shown, _lightness(self.bring(target, places)), inside)
        parts = self._measured & inside
        regions = [float(spread[part].mean()) / contrast if part.sum() >= _LEAST else math.nan for part in parts]
        skin = parts[_SKIN].any(0)
        stripes = math.nan
        if skin.sum() >= _LEAST:
            down, across = (float(np.abs(np.gradient(left, axis=axis)[skin]).mean()) for axis in (0, 1))
            stripes = abs(across - down) / contrast
        return Foreign(regions, stripes)


def _explain(ours: Plane, theirs: list[Plane], shown: Flags, target: Plane, inside: Flags) -> tuple[Plane, Plane]:
    """Return what is left of a face (S,S) by the best of the pictures around each pixel: its spread, and itself."""
    weight = inside.astype(np.float32)
    total = cv2.blur(weight, (_WINDOW, _WINDOW)) + 1e-6

    def mean(plane: Plane) -> Plane:
        return np.asarray(cv2.blur(plane * weight, (_WINDOW, _WINDOW)) / total, np.float32)

    our_mean = mean(ours)
    variance = mean(ours * ours) - our_mean**2
    least = np.full(ours.shape, np.inf, np.float32)
    left = np.zeros(ours.shape, np.float32)
    everywhere = np.ones(ours.shape, np.bool_)
    for picture, here in [*zip(theirs, shown, strict=True), (target, everywhere)]:
        average = mean(picture)
        spread = np.maximum(mean(picture * picture) - average**2, 1e-3)
        common = mean(ours * picture) - our_mean * average
        gain = np.clip(common / spread, *_CONTRAST)
        missing = variance - 2 * gain * common + gain**2 * spread
        better = here & (missing < least)
        least = np.where(better, missing, least)
        left = np.where(better, ours - our_mean - gain * (picture - average), left)
    return np.asarray(np.sqrt(np.maximum(least, 0)), np.float32), np.asarray(left, np.float32)


def _lightness(picture: NDArray[np.float32]) -> Plane:
    lab = cv2.cvtColor(np.clip(picture, 0, 255) / np.float32(255), cv2.COLOR_RGB2LAB)
    return np.asarray(cv2.GaussianBlur(lab[..., 0], (0, 0), _NOISE_SIGMA), np.float32)


def _to_side(points: Floats, size: int) -> Floats:
    return np.asarray((points + 0.5) * (_SIDE / size) - 0.5)
