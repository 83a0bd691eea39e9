"""Select the faces of a picture or video that are swapped."""

from collections.abc import Mapping, Sequence
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
_CLEARLY_LARGER = 1.25
_FAR_TURNED = 35.0  # degrees of yaw


class FaceSelector:
    """Select faces, frame by frame; one object for each video.

    Of several large faces the one selected first stays until another is a quarter larger.
    """

    def __init__(
        self, select: Select, *, reference: npt.NDArray[np.float32] | None = None, threshold: float = 0.0
    ) -> None:
        """Set what is selected.

        Args:
            select: The largest face, all, the one most similar to the reference, or the n-th from the left, from 0.
            reference: Embedding (E,), L2-normalised; given exactly for "reference".
            threshold: Cosine similarity from which on a face is the reference's.

        Raises:
            ValueError: A reference is missing or not used.
        """
        if (select == "reference") != (reference is not None):
            raise ValueError(f"a reference needs select=reference, not {select}")
        self._select = select
        self._reference = reference
        self._threshold = threshold
        self._largest: int | None = None

    def __call__(self, faces: Mapping[int, Face]) -> list[Face]:
        """Return the selected faces, the largest first.

        Args:
            faces: The frame's faces by the number of their track.
        """
        ranked = sorted(faces, key=lambda number: -_area(faces[number]))
        if not ranked:
            return []
        if self._select == "all":
            return [faces[number] for number in ranked]
        if self._select == "largest":
            held = None if self._largest is None else faces.get(self._largest)
            if held is None or _area(faces[ranked[0]]) > _CLEARLY_LARGER * _area(held):
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
    """Return the embedding (E,) of a profile or a photo.

    Args:
        reference: A profile (.json), or a photo with one face.
        analyzer: Embeds the face.

    Raises:
        UserError: The profile is of another embedder, or the photo shows no face or several.
    """
    if reference.suffix.lower() == ".json":
        profile = IdentityProfile.load(reference)
        profile.require_embedder(analyzer.embedder, analyzer.embedding_size)
        return profile.mean
    faces = analyzer(read_image(reference))
    if len(faces) != 1:
        found = f"{len(faces)} faces" if faces else "no face"
        raise UserError(f"task.reference={reference}: shows {found}; give a photo of the one person, or a profile")
    return faces[0].embedding


def threshold_for(thresholds: float | Mapping[str, float], embedder: str) -> float:
    """Return the similarity threshold of an embedder.

    Args:
        thresholds: By embedder, or one for all.
        embedder: Its name.

    Raises:
        UserError: There is no threshold for it.
    """
    if isinstance(thresholds, float | int):
        return float(thresholds)
    if embedder not in thresholds:
        raise UserError(f"task.select_threshold: has no value for embedder {embedder}; give one, such as 0.35")
    return float(thresholds[embedder])


def _area(face: Face) -> float:
    left, top, right, bottom = (float(edge) for edge in face.box)
    return max(right - left, 0.0) * max(bottom - top, 0.0)


def count_turned(faces: Sequence[Face]) -> int:
    """Count the faces that are turned so far (more than 35 degrees) that a swap of them must be looked at."""
    return sum(abs(float(face.pose[1])) > _FAR_TURNED for face in faces)
