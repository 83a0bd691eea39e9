"""The person's photos as one face embedding: what the mapper reads."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.align import estimate, warp
from facesmith.media.images import read_image
from facesmith.models.encoders.aggregation import agreement, face_weights
from facesmith.models.encoders.protocol import FaceEncoder

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
        """Give the weighted mean (E,), L2-normalised."""
        shares = self.weights / self.weights.sum()
        return functional.normalize((self.embeddings * shares[:, None]).sum(0), dim=0)

    def tensors(self) -> dict[str, Tensor]:
        """Give what the cache keeps."""
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
        sharp = np.array([laplacian_variance(crop) for crop in crops], np.float32)
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
    return warp(picture, estimate(face.five, _TEMPLATE, _SIDE), _SIDE)


def laplacian_variance(crop: NDArray[np.uint8]) -> float:
    """Give the variance of the Laplacian of a crop's grey levels: how sharp it is."""
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
