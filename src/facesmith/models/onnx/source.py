"""Whose face a swapper lays on: from a profile, a photo, or from within the model."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image
from facesmith.models.onnx.session import Swapper


@dataclass(frozen=True)
class Source:
    """What a swapper is told, None when its identity is baked in, and whose face it is by whose consent."""

    value: npt.NDArray[np.float32] | None
    identity: str
    consent: str
    consent_note: str


def find_source(
    model: Swapper,
    path: Path,
    *,
    profile: Path | None,
    photo: Path | None,
    consent: str | None,
    analyzer: Callable[[], Analyzer],
) -> Source:
    """Find what the model at `path` needs.

    profile: an identity profile, for models that take an embedding. photo: a picture of the person, for models
    that take one. consent: of the person, where neither model nor profile says it. analyzer: finds the photo's
    face.

    Raises:
        UserError: what is needed is missing, made with another embedder, or of no use; consent is not told.
    """
    if model.baked:
        for key, given in (("profile", profile), ("source_photo", photo)):
            if given is not None:
                raise UserError(f"task.{key}={given}: {path} has its identity baked in; leave task.{key} out")
        agreed = model.consent or _told(consent, path)
        return Source(None, model.identity, agreed, model.consent_note)
    if model.photo is not None:
        if profile is not None:
            raise UserError(
                f"task.profile={profile}: {path} looks at a photo; give task.source_photo=<picture> instead"
            )
        if photo is None:
            raise UserError(
                f"task.source_photo: {path} looks at a photo of the person; give task.source_photo=<picture>"
            )
        return Source(_picture(photo, *model.photo, analyzer), photo.stem, _told(consent, photo), "")
    if photo is not None:
        raise UserError(
            f"task.source_photo={photo}: {path} takes an embedding; make a profile and give task.profile=<.json>"
        )
    if profile is None:
        raise UserError(f"task.profile: {path} takes any identity; give task.profile=<identity profile .json>")
    known = IdentityProfile.load(profile)
    assert model.embedding_size is not None
    known.require(model.embedder, model.embedding_size)
    return Source(known.mean, known.id, known.consent, known.consent_note or "")


def _told(consent: str | None, path: Path) -> str:
    if consent is None:
        raise UserError(
            f"task.consent: {path} does not say whether the person agreed; give task.consent=self, written, licensed, "
            "public_domain or synthetic"
        )
    return consent


def _picture(path: Path, template: str, size: int, analyzer: Callable[[], Analyzer]) -> npt.NDArray[np.float32]:
    """The largest face of a photo, (3,size,size) RGB 0..1 on the template."""
    picture = read_image(path)
    with closing(analyzer()) as analyse:
        faces = analyse(picture)
    if not faces:
        raise UserError(f"task.source_photo={path}: no face found; give a larger or clearer one")
    crop = warp_face(picture, estimate_alignment(faces[0].keypoints, template, size), size)
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32) / np.float32(255)
