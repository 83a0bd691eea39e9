"""The source identity of a swap: from a profile, a photo, or the swapper itself."""

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
from facesmith.models.onnx.info import SwapperInfo


@dataclass(frozen=True)
class SourceIdentity:
    """The source person, in the form that a swapper takes.

    Attributes:
        value: Embedding (E,) L2-normalised, or photo (3,P,P) RGB 0..1; None where the identity is baked in.
        identity: The person's slug.
        consent: Kind of the person's consent.
        consent_note: Free text.
    """

    value: npt.NDArray[np.float32] | None
    identity: str
    consent: str
    consent_note: str

    @classmethod
    def of_swapper(cls, info: SwapperInfo) -> "SourceIdentity":
        """Return the identity that is baked into a swapper, as its file states it."""
        return cls(None, info.identity, info.consent, info.consent_note)


def find_source(
    info: SwapperInfo,
    path: Path,
    *,
    profile: Path | None,
    photo: Path | None,
    consent: str | None,
    analyzer: Callable[[], Analyzer],
) -> SourceIdentity:
    """Find the identity that a swapper needs.

    Args:
        info: The swapper.
        path: Its file, for errors.
        profile: An identity profile, for swappers that take an embedding.
        photo: A picture of the person, for swappers that take one.
        consent: Of the person, where neither swapper nor profile states it.
        analyzer: Makes the analyzer that finds the face in the photo.

    Raises:
        UserError: What is needed is missing, of another embedder or shows no face, or the consent is unknown.
    """
    if info.identity_baked_in:
        for key, given in (("profile", profile), ("source_photo", photo)):
            if given is not None:
                raise UserError(f"task.{key}={given}: {path} has its identity baked in; omit task.{key}")
        agreed = info.consent or _require_consent(consent, path)
        return SourceIdentity(None, info.identity, agreed, info.consent_note)
    if info.photo is not None:
        if profile is not None:
            raise UserError(f"task.profile={profile}: {path} takes a photo; give task.source_photo=<picture> instead")
        if photo is None:
            raise UserError(f"task.source_photo: {path} takes a photo of the person; give task.source_photo=<picture>")
        return SourceIdentity(
            _read_face(photo, *info.photo, analyzer), photo.stem, _require_consent(consent, photo), ""
        )
    if photo is not None:
        raise UserError(
            f"task.source_photo={photo}: {path} takes an embedding; make a profile and give task.profile=<.json>"
        )
    if profile is None:
        raise UserError(f"task.profile: {path} takes any identity; give task.profile=<identity profile .json>")
    known = IdentityProfile.load(profile)
    assert info.embedding_size is not None
    known.require_embedder(info.embedder, info.embedding_size)
    return SourceIdentity(known.mean, known.id, known.consent, known.consent_note or "")


def _require_consent(consent: str | None, path: Path) -> str:
    if consent is None:
        raise UserError(
            f"task.consent: {path} does not state whether the person consented; give task.consent=self, written, "
            "licensed, public_domain or synthetic"
        )
    return consent


def _read_face(path: Path, template: str, size: int, analyzer: Callable[[], Analyzer]) -> npt.NDArray[np.float32]:
    """Return the largest face of a photo, (3,size,size) RGB 0..1 on the template."""
    picture = read_image(path)
    with closing(analyzer()) as analyse:
        faces = analyse(picture)
    if not faces:
        raise UserError(f"task.source_photo={path}: no face found; give a larger or clearer one")
    crop = warp_face(picture, estimate_alignment(faces[0].keypoints, template, size), size)
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32) / np.float32(255)
