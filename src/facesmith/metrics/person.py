"""Metrics of a swapped face: similarity to a person, and fidelity to the original face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import Face
from facesmith.faces.face_set.face_set import CROP_SIZE, TEMPLATE, FaceSet
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, transform_scale, warp_face
from facesmith.faces.geometry.masks import feathered_outline_mask
from facesmith.faces.measures import eye_distance, face_sharpness
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.comparison import NOT_COMPARED, AlignedFace, FaceComparison, FaceFigures
from facesmith.metrics.limits import find_reason
from facesmith.metrics.recogniser import HeldOutRecogniser, distances

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

COMPARED_AT: Final = 256
"""Px of the crops in which faces are compared."""
_CROP: Final = ("arcface_128", 128)
_REFERENCE_FRAMES: Final = 16
_FARTHEST: Final = 0.5  # of a face's width: beyond it a face is another one


@dataclass(frozen=True)
class FrameMetrics:
    """Metrics of one frame; None where not available.

    Attributes:
        similarity: Cosine to the profile.
        distance: Of the held-out recogniser to the person.
        shift: Mean distance of the landmarks to those of the face before, in its eye distances.
        sharpness: Variance of the Laplacian.
        sharpness_ratio: To that of the face before.
        points: (478,2) px of the face.
        eyes: Its eye distance in px.
        missed: There was a face before, and none is found now.
        figures: Against the face before and the person's frames, in crops of COMPARED_AT; nan without a face before.
        reason: Why the quality gate rejects the face, else "".
    """

    similarity: float | None
    distance: float | None
    shift: float | None
    sharpness: float | None
    sharpness_ratio: float | None
    points: Floats | None
    eyes: float | None
    missed: bool
    figures: FaceFigures = NOT_COMPARED
    reason: str = ""


class FrameEvaluator:
    """Measures whole frames against a person. Not thread-safe.

    Args:
        profile: Of the person, by the analyzer's embedder.
        person: Crops of the person on `arcface_128`, for the held-out recogniser; where there are none, `distance` is
            None.
        compare: Compares each face with the face before; None: this is not measured, nor is anything rejected.
    """

    def __init__(
        self, profile: IdentityProfile, person: Sequence[Pixels], compare: FaceComparison | None = None
    ) -> None:
        self._profile, self._compare = profile, compare
        self._recogniser = HeldOutRecogniser() if len(person) else None
        self._descriptors = self._recogniser.embed(person) if self._recogniser else np.empty((0, 128))

    def __call__(
        self,
        frame: Pixels,
        faces: Sequence[Face],
        before: Pixels | None = None,
        faces_before: Sequence[Face] = (),
    ) -> FrameMetrics:
        """Measure the face of a frame that is most like the person.

        Args:
            frame: (H,W,3) RGB uint8.
            faces: Found in it.
            before: The same frame before; then the face at the position of a face there is measured.
            faces_before: Found there.
        """
        chosen = max(faces, key=lambda face: float(face.embedding @ self._profile.mean), default=None)
        was = None
        if before is not None:
            chosen, was = _pair(faces, faces_before, chosen)
        if chosen is None:
            return FrameMetrics(None, None, None, None, None, None, None, missed=bool(faces_before) or before is None)
        sharp = _sharpness(frame, chosen)
        distance = self._distance(frame, chosen)
        shift = ratio = None
        figures, reason = NOT_COMPARED, ""
        if was is not None and before is not None:
            displacement = np.linalg.norm(chosen.landmarks[:, :2] - was.landmarks[:, :2], axis=1).mean()
            shift = float(displacement / eye_distance(was.landmarks))
            ratio = sharp / max(_sharpness(before, was), 1e-6)
            if self._compare is not None:
                figures = _compare(self._compare, frame, chosen, before, was)
                reason = find_reason({**figures.values(), "distance": math.nan if distance is None else distance})
        return FrameMetrics(
            similarity=float(self._profile.similarity(chosen.embedding, self._profile.embedder)),
            distance=distance,
            shift=shift,
            sharpness=sharp,
            sharpness_ratio=ratio,
            points=np.asarray(chosen.landmarks[:, :2], np.float32),
            eyes=float(eye_distance(chosen.landmarks)),
            missed=False,
            figures=figures,
            reason=reason,
        )

    def _distance(self, frame: Pixels, face: Face) -> float | None:
        if self._recogniser is None:
            return None
        crop = warp_face(frame, estimate_alignment(face.keypoints, *_CROP), _CROP[1])
        return float(distances(self._recogniser.embed([crop]), self._descriptors)[0])


def known_faces(profile: IdentityProfile, face_sets: Path, size: int) -> AlignedFaces | None:
    """Return faces of a profile's person from its face sets.

    Args:
        profile: The identity profile.
        face_sets: Folder of face sets.
        size: Side of the crops in px.

    Returns:
        Faces on `arcface_128`; None when the face sets are gone.
    """
    keys = [profile.face_set, *(one.face_set for one in profile.made_from)]
    found: list[AlignedFaces] = []
    for key in dict.fromkeys(key for key in keys if key):
        for folder in sorted(face_sets.rglob(key[:12])):
            try:
                faces = FaceSet(folder)
            except UserError:
                continue
            rows = evenly_spaced(len(faces), _REFERENCE_FRAMES, ends=True)
            found.append(faces.aligned(_CROP[0], size)[rows])
            break
    return AlignedFaces.concat(found) if found else None


def _compare(compare: FaceComparison, frame: Pixels, face: Face, before: Pixels, was: Face) -> FaceFigures:
    """Compare two faces at one place, in the crop of the one before."""
    matrix = estimate_alignment(was.keypoints, _CROP[0], COMPARED_AT)
    swapped, target = (
        AlignedFace(
            warp_face(picture, matrix, COMPARED_AT),
            transform_points(one.landmarks, matrix).astype(np.float32),
            one.blendshapes,
        )
        for picture, one in ((frame, face), (before, was))
    )
    return compare(swapped, target, feathered_outline_mask(target.landmarks, COMPARED_AT))


def _pair(faces: Sequence[Face], before: Sequence[Face], likely: Face | None) -> tuple[Face | None, Face | None]:
    """Return the face to measure and the one there before; (None, None) when no face is at its position."""
    pairs = [(face, was) for was in before for face in faces if at_same_place(face, was)]
    if not pairs:
        return None, None
    for face, was in pairs:
        if face is likely:
            return face, was
    return pairs[0]


def at_same_place(a: Face, b: Face) -> bool:
    """Return whether two faces, of a frame before and after a swap, are at the same place."""
    width = float(b.box[2] - b.box[0])
    return bool(np.linalg.norm(a.keypoints.mean(0) - b.keypoints.mean(0)) < _FARTHEST * width)


def _sharpness(frame: Pixels, face: Face) -> float:
    matrix = estimate_alignment(face.keypoints, TEMPLATE, CROP_SIZE)
    return face_sharpness(warp_face(frame, matrix, CROP_SIZE), transform_scale(matrix))
