"""The person's photos as one face embedding: what the mapper reads."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.faces.measures import laplacian_variance
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image
from facesmith.models.encoders.vision import FaceEncoder, agreement, face_weights

log = logging.getLogger(__name__)

_TEMPLATE: Final = "ffhq_512"
_SIDE: Final = 512


@dataclass(frozen=True)
class References:
    """Embeddings (N,E) of N photos, L2-normalised; how much each counts (N,); a picture of the face (H,W,3) uint8 RGB.

    encoder: its name and weights, so that embeddings of different encoders are never mixed. recognised: (R,) the
    person's mean embedding by the recogniser that judges videos.
    """

    embeddings: Tensor
    weights: Tensor
    picture: Tensor
    encoder: str
    recognised: NDArray[np.float32]

    @property
    def identity(self) -> Tensor:
        """Return the weighted mean (E,), L2-normalised."""
        shares = self.weights / self.weights.sum()
        return functional.normalize((self.embeddings * shares[:, None]).sum(0), dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the cache keeps."""
        return {
            "embeddings": self.embeddings,
            "weights": self.weights,
            "picture": self.picture,
            "recognised": torch.from_numpy(self.recognised),
        }


def restored(tensors: Mapping[str, Tensor], encoder: str) -> References:
    """Give back what the cache kept."""
    return References(
        tensors["embeddings"], tensors["weights"], tensors["picture"], encoder, tensors["recognised"].numpy()
    )


class ReadsFaces(Protocol):
    """Something that turns a folder of photos into references."""

    def read(self, photos: Sequence[Path]) -> References:
        """Read the photos; UserError names a photo without a face, or of somebody else."""
        ...


class DetectedFaces:
    """Finds the one face of every photo, aligns it, and gives it to an encoder.

    encoder: makes an encoder of aligned faces; None for the analyzer's own recogniser. min_similarity: to the others,
    below which a photo is of somebody else.
    """

    def __init__(
        self,
        *,
        encoder: Callable[[], FaceEncoder] | None,
        analyzer: Callable[[], Analyzer],
        min_similarity: float,
    ) -> None:
        self._make, self._analyzer, self._min_similarity = encoder, analyzer, min_similarity

    def read(self, photos: Sequence[Path]) -> References:
        """Read the photos."""
        with closing(self._analyzer()) as analyzer:
            faces = [_only_face(analyzer(read_image(photo)), photo) for photo in photos]
            name = analyzer.embedder
        recognised = np.stack([face.embedding for face in faces])
        agree = agreement(recognised)
        odd = int(agree.argmin())
        if len(photos) > 1 and float(agree[odd]) < self._min_similarity:
            raise UserError(
                f"data.faces: {photos[odd]} shows somebody else (similarity {float(agree[odd]):.2f} to the others); "
                "give photos of one person"
            )
        crops = np.stack([_crop(read_image(photo), face) for photo, face in zip(photos, faces, strict=True)])
        if self._make is None:
            embeddings = torch.from_numpy(recognised)
        else:
            encoder = self._make()
            name, embeddings = encoder.name, encoder(crops)
        sharp = np.array([laplacian_variance(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)) for crop in crops], np.float32)
        scores = np.array([face.score for face in faces], np.float32)
        sizes = np.array([min(f.box[2] - f.box[0], f.box[3] - f.box[1]) for f in faces], np.float32)
        weights = face_weights(scores, sharp, sizes, agree)
        mean = recognised.mean(0)
        return References(
            embeddings,
            torch.from_numpy(weights),
            torch.from_numpy(crops[int(weights.argmax())]),
            name,
            (mean / np.linalg.norm(mean)).astype(np.float32),
        )


def _only_face(faces: Sequence[Face], photo: Path) -> Face:
    if not faces:
        raise UserError(f"data.faces: {photo} shows no face; remove it, or give a clearer photo")
    return faces[0]


def _crop(picture: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    return warp_face(picture, estimate_alignment(face.keypoints, _TEMPLATE, _SIDE), _SIDE)


Sources = str | Sequence[str]


def sources_of(faces: Sources | Mapping[str, Sources], name: str) -> dict[str, Sources]:
    """Return everybody's photos by name; photos of one person go by the name of the run."""
    return dict(faces) if isinstance(faces, Mapping) else {name: faces}


def dancers(stems: Sequence[str], names: Sequence[str]) -> list[int]:
    """Say by number who dances in each video: of several people the one whose name it begins with, as in `ada_001`.

    Raises:
        UserError: a video says nobody's name, or nobody dances under a name.
    """
    if len(names) == 1:
        return [0] * len(stems)
    found = []
    for stem in stems:
        fitting = [name for name in names if stem == name or stem.startswith(f"{name}_")]
        if not fitting:
            raise UserError(
                f"data.videos: {stem} does not say who dances; name it after one of data.faces, such as "
                f"{names[0]}_{stem}"
            )
        found.append(names.index(max(fitting, key=len)))
    idle = [name for number, name in enumerate(names) if number not in found]
    if idle:
        raise UserError(f"data.videos: nobody dances as {', '.join(idle)}; add videos such as {idle[0]}_001.mp4")
    return found


def some_photos(people: Sequence[References], face: Tensor, who: Tensor, share: float) -> Tensor:
    """Return (N,E) embeddings, in the share `share` those of one photo instead of the person's; who: (N,) numbers."""
    singles = torch.cat([one.embeddings for one in people]).to(face)
    counts = torch.tensor([len(one.embeddings) for one in people], device=face.device)
    first = counts.cumsum(0) - counts
    chosen = first[who] + (torch.rand(len(face), device=face.device) * counts[who]).long()
    alone = torch.rand(len(face), 1, device=face.device) < share
    return torch.where(alone, singles[chosen], face)


def described(people: Mapping[str, References]) -> dict[str, dict[str, Any]]:
    """Say of everybody, in plain values, what their photos said: what `write_profiles` needs."""
    return {
        name: {
            "photos": len(one.embeddings),
            "embedding": one.identity.tolist(),
            "spread": one.embeddings.std(0, correction=0).tolist(),
        }
        for name, one in people.items()
    }


def write_profiles(folder: Path, provenance: Mapping[str, Any]) -> list[Path]:
    """Write everybody's identity profile, `<name>.json`: what is blended, and drawn with `embedding=`."""
    paths = []
    for name, told in provenance["people"].items():
        profile = IdentityProfile.create(
            id=name,
            name=name,
            embedder=provenance["encoder"],
            embedding_mean=np.asarray(told["embedding"], np.float32),
            embedding_std=np.asarray(told["spread"], np.float32),
            num_frames=told["photos"],
            quality_stats={},
            gate={},
            face_set="",
            consent=provenance["consent"],
            consent_note=provenance["consent_note"] or None,
            expires=provenance["expires"],
        )
        paths.append(folder / f"{name}.json")
        profile.save(paths[-1])
    return paths
