"""Reference photos of a generation: those trained on, or files in which the person is recognised."""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image
from facesmith.media.sources import find_media
from facesmith.methods.video_lora.adapter_bundle import MOST, AdapterBundle
from facesmith.methods.video_lora.face_embeddings import crop_head

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_SAME_PERSON: Final = 0.3  # similarity to the person's mean, as in the selection of face sets


def choose_references(
    wanted: int | str | list[str] | None,
    bundle: AdapterBundle,
    analyzer: Callable[[], Analyzer] | None,
    other: IdentityProfile | None = None,
) -> list[Pixels]:
    """Choose the reference photos of a generation.

    Args:
        wanted: How many of those trained on, or files; None: as many as the training showed at most.
        bundle: What was learnt of the person.
        analyzer: Makes what recognises the person; None: files are taken whole, without a look at them.
        other: Who is generated instead of the person, whose photos the bundle does not hold; None: the person.

    Returns:
        (h,w,3) RGB uint8 each.

    Raises:
        UserError: a file shows nobody or somebody else, there are too many, or none were trained on.
    """
    person = str(bundle.facts["identity"]).partition(",")[0]
    if other is not None and wanted is None:
        if bundle.facts.get("references"):
            log.info(
                "no photos are shown, for the model holds those of %s; give %s's as task.references", person, other.id
            )
        return []
    if other is not None and isinstance(wanted, int) and wanted:
        raise UserError(
            f"task.references={wanted}: the model holds photos of {person}, not of {other.id}; give files, or 0"
        )
    if wanted is None:
        wanted = min(int(bundle.facts.get("references", 0)), len(bundle.portraits))
    if isinstance(wanted, int):
        if wanted > len(bundle.portraits):
            raise UserError(
                f"task.references={wanted}: the model holds {len(bundle.portraits)} photos of "
                f"{person}; give files, or fewer"
            )
        return [portrait.numpy() for portrait in bundle.portraits[:wanted]]
    photos = [media.path for media in find_media(wanted) if media.kind == "image"]
    if not photos or len(photos) > MOST:
        raise UserError(f"task.references={wanted}: holds {len(photos)} photos; give 1 to {MOST}")
    if analyzer is None or not len(bundle.recognised):
        return [read_image(photo) for photo in photos]
    name = person if other is None else other.id
    with closing(analyzer()) as recogniser:
        known = _known_face(bundle, other, recogniser.embedder)
        if known is None:
            log.warning("task.references: not compared with %s, who was recognised by another network", name)
            if other is None:
                return [read_image(photo) for photo in photos]
        return [_cut_out(photo, recogniser, known, name) for photo in photos]


def _known_face(bundle: AdapterBundle, other: IdentityProfile | None, embedder: str) -> Floats | None:
    """Return the mean embedding (R,) of who is generated; None where it is another network's."""
    if other is None:
        return bundle.recognised.numpy() if bundle.facts.get("recogniser") == embedder else None
    return np.asarray(other.embedding_mean, np.float32) if other.embedder == embedder else None


def _cut_out(photo: Path, recogniser: Analyzer, known: Floats | None, name: str) -> Pixels:
    """Cut the person's head out of a photo; where the face is not known, the largest."""
    picture = read_image(photo)
    faces = recogniser(picture)
    if not faces:
        raise UserError(f"task.references: {photo} shows no face; give a clearer photo")
    if known is None:
        likeness, best = "the largest", int(np.argmax([np.prod(face.box[2:] - face.box[:2]) for face in faces]))
    else:
        similarities = [float(face.embedding @ known) for face in faces]
        best = int(np.argmax(similarities))
        likeness = f"similarity {similarities[best]:.2f}"
        if similarities[best] < _SAME_PERSON:
            raise UserError(
                f"task.references: {photo} shows somebody else than {name} ({likeness}); give a photo of {name}"
            )
    if len(faces) > 1:
        where = faces[best].box.round().astype(int).tolist()
        log.info("%s: shows %d faces; the one at %s px is taken (%s)", photo, len(faces), where, likeness)
    return crop_head(picture, faces[best].box)
