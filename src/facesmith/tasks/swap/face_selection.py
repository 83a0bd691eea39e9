"""Select the faces of a picture or video that are swapped, and the model of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image

Floats = npt.NDArray[np.float32]

_CLEARLY_LARGER: Final = 1.25
"""The largest face stays the largest until another is clearly so: two of one size would take turns."""
_HELD: Final = 0.1
"""What a track's similarity counts more for the person it was in the frame before."""
_FAR_TURNED: Final = 35.0  # degrees of yaw


@dataclass(frozen=True, eq=False)
class Claim:
    """Which faces one entry of a cast takes.

    Attributes:
        target: A person's embedding (E,), L2-normalised; the person at a place from the left, counted from 0 in the
            first frame that shows all places asked for; the largest face that no person has, or all that nobody else
            has.
        threshold: Cosine similarity from which on a face is that person's.
    """

    target: Literal["largest", "all"] | int | Floats
    threshold: float = 0.0


class SelectedFace(NamedTuple):
    """A face that is swapped, and the number of the entry of the cast that it goes to."""

    face: Face
    entry: int


class FaceSelector:
    """Select faces, frame by frame; one object for each video.

    A face goes to one entry at most. Persons come first: those of a frame are told apart by the assignment that is
    the most similar in all, so that two who cross keep their models. A person who was counted from the left is
    recognised from then on.

    Attributes:
        largest: The entry that takes the largest face; None for none.
        undecided: Whether places from the left are still to be counted.
    """

    def __init__(self, claims: Sequence[Claim]) -> None:
        """Set what is selected.

        Args:
            claims: Of each entry of the cast; at most one takes the largest face, and one all that are left.
        """
        self._people = {i: one.target for i, one in enumerate(claims) if isinstance(one.target, np.ndarray)}
        self._places = {i: one.target for i, one in enumerate(claims) if isinstance(one.target, int)}
        words = {one.target: i for i, one in enumerate(claims) if isinstance(one.target, str)}
        self.largest, self._others = words.get("largest"), words.get("all")
        self._thresholds = [one.threshold for one in claims]
        self._held: dict[int, int] = {}
        self._largest_track: int | None = None
        self.undecided = bool(self._places)

    def __call__(self, faces: Mapping[int, Face]) -> list[SelectedFace]:
        """Return the selected faces, the largest first.

        Args:
            faces: The frame's faces by the number of their track.

        Raises:
            UserError: A place from the left is that of a person whom another entry names.
        """
        if self.undecided:
            self._count_places(faces)
        taken = self._assign_people(faces)
        self._held = dict(taken)
        left = sorted((track for track in faces if track not in taken), key=lambda track: -_area(faces[track]))
        if self.largest is not None and left:
            held = None if self._largest_track is None else faces.get(self._largest_track)
            if self._largest_track not in left or held is None or _area(faces[left[0]]) > _CLEARLY_LARGER * _area(held):
                self._largest_track = left[0]
            assert self._largest_track is not None
            taken[self._largest_track] = self.largest
            left.remove(self._largest_track)
        if self._others is not None:
            taken |= dict.fromkeys(left, self._others)
        return [SelectedFace(faces[track], taken[track]) for track in sorted(taken, key=lambda t: -_area(faces[t]))]

    def hold_largest(self, faces: Mapping[int, Face], box: Sequence[float]) -> None:
        """Go on with the face that was the largest up to a frame, though others may be as large there.

        Args:
            faces: Of that frame, by the number of their track.
            box: Of the face: left, top, right, bottom in px.
        """
        if faces:
            self._largest_track = min(faces, key=lambda track: float(np.abs(faces[track].box - box).max()))

    def _count_places(self, faces: Mapping[int, Face]) -> None:
        """Learn who is at the places asked for, in the first frame that shows them all."""
        from_left = sorted(faces, key=lambda track: float(faces[track].box[0] + faces[track].box[2]))
        if max(self._places.values()) >= len(from_left):
            return
        found = {entry: from_left[place] for entry, place in self._places.items()}
        if any(np.isnan(faces[track].embedding[0]) for track in found.values()):
            return
        known = self._assign_people(faces)
        for entry, track in found.items():
            if track in known:
                raise UserError(
                    f"cast: entries {known[track]} and {entry} claim one face: the person whom entry {known[track]} "
                    f"names is number {self._places[entry]} from the left; leave one of the two out"
                )
        self._people |= {entry: faces[track].embedding for entry, track in found.items()}
        self._held |= {track: entry for entry, track in found.items()}
        self.undecided = False

    def _assign_people(self, faces: Mapping[int, Face]) -> dict[int, int]:
        """Return the entries of the tracks that are theirs."""
        tracks = [track for track, face in faces.items() if not np.isnan(face.embedding[0])]
        entries = list(self._people)
        if not tracks or not entries:
            return {}
        alike = np.stack([self._people[i] for i in entries]) @ np.stack([faces[t].embedding for t in tracks]).T
        alike += _HELD * np.array([[self._held.get(track) == entry for track in tracks] for entry in entries])
        above = alike - np.array([[self._thresholds[entry]] for entry in entries])
        rows, columns = linear_sum_assignment(np.maximum(above, 0), maximize=True)
        return {tracks[c]: entries[r] for r, c in zip(rows, columns, strict=True) if above[r, c] >= 0}


def reference_embedding(reference: Path, analyzer: Analyzer, key: str = "task.reference") -> Floats:
    """Return the embedding (E,) of a profile or a photo.

    Args:
        reference: A profile (.json), or a photo with one face.
        analyzer: Embeds the face.
        key: That names it, for errors.

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
        raise UserError(f"{key}={reference}: shows {found}; give a photo of the one person, or a profile")
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
