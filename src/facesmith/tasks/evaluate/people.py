"""The people of an evaluation: what each recogniser knows of them, and pictures of them to compare with."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import encode_image, read_image
from facesmith.media.sampling import evenly_spaced
from facesmith.media.video import open_video
from facesmith.metrics.comparison import FaceComparison
from facesmith.metrics.person import COMPARED_AT, known_faces
from facesmith.tasks.evaluate.pairs import Person
from facesmith.tasks.evaluate.recognisers import CropRecogniser, Measure, average, compare
from facesmith.tasks.validate.frames import Backend

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

TEMPLATE: Final = "arcface_128"
_MOST_PICTURES: Final = 16
_SURELY_ONE: Final[dict[Measure, float]] = {"cosine": 0.85, "distance": 0.3}  # beyond what two people ever have
_COMPARED_PEOPLE: Final = 64  # whose canonical pictures are kept at a time


@dataclass(frozen=True)
class KnownPerson:
    """A person as the evaluation knows it.

    Attributes:
        name: Of the file or folder.
        embeddings: Mean, by recogniser; missing where a profile has none of it and its face set is gone.
        pictures: Aligned faces, packed as PNG so that thousands of people fit into memory.
        landmarks: (N,478,3) px of these.
        blendshapes: (N,52) of these.
        digests: sha256 of the picture files.
        notes: What a reader should know.
        crowded: Whether a picture shows several faces, of which the largest counted.
    """

    name: str
    embeddings: Mapping[str, Floats]
    pictures: tuple[bytes, ...]
    landmarks: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    digests: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    crowded: bool = False

    def faces(self) -> AlignedFaces | None:
        """Return the aligned faces; None where there are none."""
        if not self.pictures:
            return None
        return AlignedFaces(
            np.stack([self.picture(i) for i in range(len(self.pictures))]), self.landmarks, self.blendshapes, TEMPLATE
        )

    def picture(self, number: int) -> Pixels:
        """Return an aligned face, (S,S,3) RGB."""
        packed = cv2.imdecode(np.frombuffer(self.pictures[number], np.uint8), cv2.IMREAD_COLOR)
        assert packed is not None
        return np.asarray(cv2.cvtColor(packed, cv2.COLOR_BGR2RGB), np.uint8)


def study(
    person: Person,
    analyzer: Analyzer,
    recognisers: Sequence[CropRecogniser],
    *,
    frames: int,
    backend: Backend,
    face_sets: Path,
) -> KnownPerson:
    """Find the faces of a person and embed them.

    Args:
        person: The person's files.
        analyzer: Finds faces.
        recognisers: Embed them.
        frames: Of each video.
        backend: What decodes videos.
        face_sets: Where the face set of a profile is looked for.

    Raises:
        UserError: No face is found, or a profile is of another recogniser and its face set is gone.
    """
    if person.profile is not None:
        return _study_profile(person, person.profile, recognisers, analyzer, face_sets)
    found, crowded = list[tuple[Pixels, Face]](), 0
    for picture in _read(person, frames, backend):
        faces = analyzer(picture)
        crowded += len(faces) > 1
        if faces:
            matrix = estimate_alignment(faces[0].keypoints, TEMPLATE, COMPARED_AT)
            crop = warp_face(picture, matrix, COMPARED_AT)
            points = transform_points(faces[0].landmarks, matrix).astype(np.float32)
            found.append((crop, replace(faces[0], landmarks=points)))
    if not found:
        names = ", ".join(str(media.path) for media in person.media[:3])
        raise UserError(f"{names}: no face found; give pictures in which the face of {person.name} is seen")
    crops = [crop for crop, _ in found]
    embeddings = {
        one.name: average(
            one.measure,
            np.stack([face.embedding for _, face in found]) if one.name == analyzer.embedder else one.embed(crops),
        )
        for one in recognisers
    }
    kept = [found[i] for i in evenly_spaced(len(found), _MOST_PICTURES, ends=True)]
    return KnownPerson(
        person.name,
        embeddings,
        tuple(_pack(crop) for crop, _ in kept),
        np.stack([face.landmarks for _, face in kept]),
        np.stack([face.blendshapes for _, face in kept]).astype(np.float32),
        frozenset(_digest(media.path) for media in person.media if media.kind == "image"),
        crowded=crowded > 0,
    )


def _study_profile(
    person: Person, path: Path, recognisers: Sequence[CropRecogniser], analyzer: Analyzer, face_sets: Path
) -> KnownPerson:
    profile = IdentityProfile.load(path)
    known = known_faces(profile, face_sets, COMPARED_AT)
    embeddings: dict[str, Floats] = {}
    for one in recognisers:
        if one.name == profile.embedder:
            embeddings[one.name] = profile.mean
        elif known is not None:
            embeddings[one.name] = average(one.measure, one.embed(list(known.images)))
    if not embeddings:
        raise UserError(
            f"{path}: is of the recogniser {profile.embedder}, which is none of task.recognisers, and its face set is "
            f"not in {face_sets}; give pictures of the person, or another analyzer"
        )
    if known is None:
        note = f"{person.name}: the face set is not in {face_sets}; only {', '.join(embeddings)} can measure identity"
        empty = np.zeros((0, 478, 3), np.float32), np.zeros((0, 52), np.float32)
        return KnownPerson(person.name, embeddings, (), *empty, notes=(note,))
    return KnownPerson(person.name, embeddings, tuple(map(_pack, known.images)), known.landmarks, known.blendshapes)


@dataclass
class People:
    """Sources and gallery of an evaluation.

    Attributes:
        sources: Who was put on, by name.
        gallery: Among whom they are sought, the sources among them, by name.
        notes: What a reader should know.
    """

    sources: Mapping[str, KnownPerson]
    gallery: Mapping[str, KnownPerson]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._matrices: dict[str, tuple[list[str], Floats]] = {}
        self._compare = lru_cache(_COMPARED_PEOPLE)(lambda name: FaceComparison(self.sources[name].faces()))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without the pictures of people who are only sought."""
        sought = {
            name: one if name in self.sources else replace(one, pictures=()) for name, one in self.gallery.items()
        }
        return People, (self.sources, sought, self.notes)

    def comparison(self, name: str) -> FaceComparison:
        """Return what compares a face with its target and with pictures of its source."""
        return self._compare(name)

    def embeddings(self, recogniser: str) -> tuple[list[str], Floats]:
        """Return the names (G) and embeddings (G,E) of the gallery, of those whom the recogniser knows."""
        if recogniser not in self._matrices:
            known = {
                name: one.embeddings[recogniser] for name, one in self.gallery.items() if recogniser in one.embeddings
            }
            self._matrices[recogniser] = list(known), np.stack(list(known.values())) if known else np.empty((0, 0))
        return self._matrices[recogniser]


def make_gallery(sources: Mapping[str, KnownPerson], others: Mapping[str, KnownPerson] | None) -> People:
    """Put sources and further people into one gallery in which nobody stands twice.

    Whoever has the name of a source, or holds one of its picture files, is that source.

    Args:
        sources: Who was put on.
        others: The gallery that was given; None: the sources alone.
    """
    everybody = [*sources.values(), *(others or {}).values()]
    notes = [note for one in sources.values() for note in one.notes]
    crowded = list(dict.fromkeys(one.name for one in everybody if one.crowded))
    if crowded:
        notes.append(f"several faces in pictures of {', '.join(crowded[:5])}: the largest counts")
    if others is None:
        owner = _owners(sources.values())
        doubles = sorted(
            {(owner[d], one.name) for one in sources.values() for d in one.digests if owner[d] != one.name}
        )
        notes += [f"{a} and {b} hold the same picture: neither can be told from the other" for a, b in doubles]
        return People(sources, sources, notes)
    gallery = dict(sources)
    owner = _owners(sources.values())
    twice, missing = list[str](), sorted(set(sources) - set(others))
    for name, one in others.items():
        known = next((owner[digest] for digest in one.digests if digest in owner), None)
        if known is not None and known != name:
            twice.append(f"{name} is {known}")
            missing = [each for each in missing if each != known]
        elif name not in gallery:
            gallery[name] = one
    if twice:
        notes.append(
            f"the gallery holds sources under another name, who are counted once: {', '.join(sorted(twice)[:5])}"
        )
    if missing:
        notes.append(f"{len(missing)} sources were not in the gallery and were added to it: {', '.join(missing[:5])}")
    return People(sources, gallery, notes)


def find_doubles(people: People, measures: Mapping[str, Measure]) -> list[str]:
    """Return a line for each source who, by every recogniser, is in the gallery once more under another name.

    Args:
        people: Sources and gallery.
        measures: How each recogniser compares, by name.
    """
    lines = []
    for name, source in people.sources.items():
        alike: set[str] | None = None
        for recogniser, embedding in source.embeddings.items():
            names, gallery = people.embeddings(recogniser)
            found = compare(measures[recogniser], embedding, gallery)
            limit = _SURELY_ONE[measures[recogniser]]
            near = found > limit if measures[recogniser] == "cosine" else found < limit
            here = {other for other, one in zip(names, near, strict=True) if one and other != name}
            alike = here if alike is None else alike & here
        lines += [
            f"{other} of the gallery looks like {name}: retrieval may take one for the other" for other in alike or ()
        ]
    return lines


def _owners(people: Iterable[KnownPerson]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in people:
        for digest in one.digests:
            found.setdefault(digest, one.name)
    return found


def _read(person: Person, frames: int, backend: Backend) -> Iterable[Pixels]:
    for media in person.media:
        if media.kind == "image":
            yield read_image(media.path)
            continue
        with open_video(media.path, backend) as reader:
            for _, picture in reader.frames(evenly_spaced(len(reader), frames)):
                yield picture


def _pack(crop: Pixels) -> bytes:
    return encode_image(crop, ".png", mark=None)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
