"""Reference photos of a generation: those trained on, or files in which the person is recognised."""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.media.images import read_image
from facesmith.media.sources import find_media
from facesmith.methods.video_lora.adapter_bundle import MOST, AdapterBundle
from facesmith.methods.video_lora.face_embeddings import crop_head

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

_SAME_PERSON: Final = 0.3  # similarity to the person's mean, as in the selection of face sets


def choose_references(
    wanted: int | str | list[str] | None, bundle: AdapterBundle, analyzer: Callable[[], Analyzer] | None
) -> list[Pixels]:
    """Choose the reference photos of a generation.

    Args:
        wanted: How many of those trained on, or files; None: as many as the training showed at most.
        bundle: What was learnt of the person.
        analyzer: Makes what recognises the person; None: files are taken whole, without a look at them.

    Returns:
        (h,w,3) RGB uint8 each.

    Raises:
        UserError: a file shows nobody or somebody else, there are too many, or none were trained on.
    """
    if wanted is None:
        wanted = min(int(bundle.facts.get("references", 0)), len(bundle.portraits))
    if isinstance(wanted, int):
        if wanted > len(bundle.portraits):
            raise UserError(
                f"references={wanted}: the model holds {len(bundle.portraits)} photos of {bundle.facts['identity']}; "
                "give files, or fewer"
            )
        return [portrait.numpy() for portrait in bundle.portraits[:wanted]]
    photos = [media.path for media in find_media(wanted) if media.kind == "image"]
    if not photos or len(photos) > MOST:
        raise UserError(f"references={wanted}: holds {len(photos)} photos; give 1 to {MOST}")
    if analyzer is None or not len(bundle.recognised):
        return [read_image(photo) for photo in photos]
    found = []
    with closing(analyzer()) as recogniser:
        if recogniser.embedder != bundle.facts.get("recogniser"):
            log.warning("references: not compared with the person, who was recognised by another analyzer")
            return [read_image(photo) for photo in photos]
        for photo in photos:
            picture = read_image(photo)
            faces = recogniser(picture)
            if not faces:
                raise UserError(f"references: {photo} shows no face; give a clearer photo")
            similarities = [float(face.embedding @ bundle.recognised.numpy()) for face in faces]
            best = int(np.argmax(similarities))
            if similarities[best] < _SAME_PERSON:
                raise UserError(
                    f"references: {photo} shows somebody else than {bundle.facts['identity']} (similarity "
                    f"{similarities[best]:.2f}); give a photo of {bundle.facts['identity']}"
                )
            if len(faces) > 1:
                log.info(
                    "%s: shows %d faces; the one at %s px is taken (similarity %.2f)",
                    photo,
                    len(faces),
                    faces[best].box.round().astype(int).tolist(),
                    similarities[best],
                )
            found.append(crop_head(picture, faces[best].box))
    return found
