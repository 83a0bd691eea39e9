"""Which of the faces in a picture or video are swapped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image

Select = Literal["largest", "all", "reference"] | int

# The largest face stays the largest until another is clearly so: two of one size would take turns.
_CLEARLY = 1.25


class FaceChoice:
    """Choose faces frame by frame.

    select: the largest, all, the one that is most like the reference, or the n-th from the left, from 0 on.
    reference: (E,) embedding, L2-normalised, exactly for "reference". threshold: cosine from which on a face
    is the reference's. One object a video: the largest face stays chosen until another is a quarter larger.
    """

    def __init__(
        self, select: Select, *, reference: npt.NDArray[np.float32] | None = None, threshold: float = 0.0
    ) -> None:
        if (select == "reference") != (reference is not None):
            raise ValueError(f"a reference goes with select=reference, not {select}")
        self._select = select
        self._reference = reference
        self._threshold = threshold
        self._largest: int | None = None

    def __call__(self, faces: Mapping[int, Face]) -> list[Face]:
        """The chosen of a frame's faces (number of the track -> face), the largest first."""
        ranked = sorted(faces, key=lambda number: -_area(faces[number]))
        if not ranked:
            return []
        if self._select == "all":
            return [faces[number] for number in ranked]
        if self._select == "largest":
            held = None if self._largest is None else faces.get(self._largest)
            if held is None or _area(faces[ranked[0]]) > _CLEARLY * _area(held):
                self._largest, held = ranked[0], faces[ranked[0]]
            return [held]
        if self._reference is not None:
            alike = {number: float(face.embedding @ self._reference) for number, face in faces.items()}
            known = [number for number in ranked if not np.isnan(alike[number])]
            best = max(known, key=lambda number: alike[number], default=None)
            return [faces[best]] if best is not None and alike[best] >= self._threshold else []
        assert isinstance(self._select, int)
        from_left = sorted(faces.values(), key=lambda face: float(face.box[0] + face.box[2]))
        return from_left[self._select : self._select + 1]


def reference_embedding(reference: Path, analyzer: Analyzer) -> npt.NDArray[np.float32]:
    """The embedding (E,) of a profile (.json) or of the one face in a photo.

    Raises:
        UserError: the profile is of another embedder, or the photo shows no face or several; says which.
    """
    if reference.suffix.lower() == ".json":
        profile = IdentityProfile.load(reference)
        profile.require(analyzer.embedder, analyzer.embedding_size)
        return profile.mean
    faces = analyzer(read_image(reference))
    if len(faces) != 1:
        found = f"{len(faces)} faces" if faces else "no face"
        raise UserError(f"task.reference={reference}: shows {found}; give a photo of the one person, or a profile")
    return faces[0].embedding


def threshold_of(thresholds: float | Mapping[str, float], embedder: str) -> float:
    """The cosine that stands for an embedder.

    Raises:
        UserError: there is none for it.
    """
    if isinstance(thresholds, float | int):
        return float(thresholds)
    if embedder not in thresholds:
        raise UserError(f"task.select_threshold: has no value for embedder {embedder}; give one, such as 0.35")
    return float(thresholds[embedder])


def _area(face: Face) -> float:
    left, top, right, bottom = (float(edge) for edge in face.box)
    return max(right - left, 0.0) * max(bottom - top, 0.0)
