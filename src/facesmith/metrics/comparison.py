"""A swapped face beside its target and beside the person: every figure that needs no network of its own."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.geometry.topology import REGIONS
from facesmith.faces.measures import eye_distance
from facesmith.metrics.edges import sharpness
from facesmith.metrics.expression import expression_error
from facesmith.metrics.foreign import Foreign, PersonAppearance
from facesmith.metrics.pose import pose_error
from facesmith.metrics.skin_colour import colour_error

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class AlignedFace:
    """A face in a crop.

    Attributes:
        picture: (S,S,3) RGB uint8.
        landmarks: (478,3) px of the crop.
        blendshapes: (52,) 0..1.
        places: Of the landmarks in the person's canonical coordinates, see `PersonAppearance.locate`; None where they
            are not needed.
    """

    picture: Pixels
    landmarks: Floats
    blendshapes: Floats
    places: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FaceFigures:
    """Figures of a swapped face against its target and the person's frames.

    Attributes:
        nme: Mean distance of the landmarks to the target's, in its eye distances.
        pitch: Rotation of the head against the target's in degrees, signed as `Face.pose`.
        yaw: As `pitch`.
        roll: As `pitch`.
        expression: Mean absolute difference of the 52 blendshapes, 0..1.
        expression_seven: The same of seven shapes of eyes and mouth.
        eyes: Mean difference of the blink scores, 0..1.
        mouth: Difference of the jaw scores, 0..1.
        lips: By how much the gap between the lips is wider, in the target's eye distances.
        shut: 1 where an eye is shut that was open, else 0.
        colour: Of the skin to the target's own, Delta E 2000.
        colour_patches: 90 % quantile of the local difference of hue and chroma, Delta E 2000.
        colour_around: Of the skin to neck and forehead outside the mask, beyond the target's own difference to them.
        sharpness_own: Laplacian variance, by the person's own.
        sharpness_target: Laplacian variance, by the target's.
        foreign_eyes: What neither the person nor the target shows, in the face's contrasts: eyes with brows.
        foreign_nose: The same of the nose.
        foreign_mouth: The same of chin and surroundings of the mouth.
        foreign_cheeks: The same of the cheeks.
        foreign_forehead: The same of the forehead.
        stripes: How much steeper it is on the skin across than along the picture, or the reverse.
    """

    nme: float
    pitch: float
    yaw: float
    roll: float
    expression: float
    expression_seven: float
    eyes: float
    mouth: float
    lips: float
    shut: float
    colour: float
    colour_patches: float
    colour_around: float
    sharpness_own: float
    sharpness_target: float
    foreign_eyes: float
    foreign_nose: float
    foreign_mouth: float
    foreign_cheeks: float
    foreign_forehead: float
    stripes: float

    @property
    def pose(self) -> float:
        """Degrees by which the head is turned away from the target's, about whatever axis."""
        return float(np.linalg.norm([self.pitch, self.yaw, self.roll]))

    @property
    def blur(self) -> float:
        """Sharpness by the softer of the person's own and the target's: what a swap can be expected to have."""
        return float(np.fmax(self.sharpness_own, self.sharpness_target))

    def values(self) -> dict[str, float]:
        """Return all figures by name, those that follow from others among them."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(FaceFigures)},
            "pose": self.pose,
            "blur": self.blur,
        }


NOT_COMPARED: Final = FaceFigures(*(float("nan") for _ in fields(FaceFigures)))
"""What is known where no face is found."""


class FaceComparison:
    """Compares swapped faces of one person with their targets.

    Args:
        person: Frames of the person on one template; a few are enough. None: `sharpness_own` and what is foreign are
            not measured.
    """

    def __init__(self, person: AlignedFaces | None) -> None:
        self._appearance: PersonAppearance | None = None
        self._own_sharpness = float("nan")
        if person is None:
            return
        self._appearance = PersonAppearance(person)
        own = [
            sharpness(picture, outline_mask(points, person.size))
            for picture, points in zip(person.images, person.landmarks, strict=True)
        ]
        self._own_sharpness = max(float(np.median(own)), 1e-6)

    def locate(self, landmarks: Floats, size: int) -> NDArray[np.float32] | None:
        """Compute the places of a target's landmarks (478,2+) px in a crop of `size`, for `AlignedFace`."""
        return None if self._appearance is None else self._appearance.locate(landmarks, size)

    def __call__(
        self, swapped: AlignedFace, target: AlignedFace, mask: NDArray[np.floating], face: Pixels | None = None
    ) -> FaceFigures:
        """Measure a swapped face.

        Args:
            swapped: The composite, and what is found in it.
            target: The same crop before.
            mask: (S,S) 0..1, where the swap shows.
            face: (S,S,3) RGB, of which sharpness is measured; None: of the composite.
        """
        size = len(target.picture)
        away = np.linalg.norm(swapped.landmarks[:, :2] - target.landmarks[:, :2], axis=1).mean()
        pitch, yaw, roll = pose_error(swapped.landmarks, target.landmarks)
        expression = expression_error(swapped.blendshapes, target.blendshapes, swapped.landmarks, target.landmarks)
        colour = colour_error(swapped.picture, target.picture, target.landmarks, mask)
        before = colour_error(target.picture, target.picture, target.landmarks, mask)
        inside = outline_mask(target.landmarks, size)
        sharp = sharpness(swapped.picture if face is None else face, inside)
        foreign = Foreign([float("nan")] * len(REGIONS), float("nan"))
        if self._appearance is not None:
            places = self._appearance.locate(target.landmarks, size) if target.places is None else target.places
            foreign = self._appearance.find_foreign(swapped.picture, target.picture, mask, places)
        return FaceFigures(
            nme=float(away / eye_distance(np.asarray(target.landmarks, np.float32))),
            pitch=float(pitch),
            yaw=float(yaw),
            roll=float(roll),
            expression=expression.all_shapes,
            expression_seven=expression.seven_shapes,
            eyes=expression.eyes,
            mouth=expression.mouth,
            lips=expression.lips,
            shut=float(expression.shut),
            colour=colour.face,
            colour_patches=colour.patches,
            colour_around=colour.around - before.around,
            sharpness_own=sharp / self._own_sharpness,
            sharpness_target=sharp / max(sharpness(target.picture, inside), 1e-6),
            **{f"foreign_{name}": value for name, value in zip(REGIONS, foreign.regions, strict=True)},
            stripes=foreign.stripes,
        )
