"""The photos of one person as face embeddings: what the mapper reads."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, Self

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
from facesmith.media.images import read_image
from facesmith.models.encoders.aggregation import face_weights, mean_similarity
from facesmith.models.encoders.vision import FaceEncoder

_TEMPLATE: Final = "ffhq_512"
_SIDE: Final = 512
_PORTRAIT: Final = 832  # px of a portrait's longer side at most
_AROUND: Final = 2.2  # sides of a face's box that a portrait shows


@dataclass(frozen=True)
class FaceEmbeddings:
    """Face embeddings of N photos of a person.

    Attributes:
        embeddings: (N,E), L2-normalised.
        weights: (N,), how much each photo counts.
        picture: (H,W,3) RGB uint8, the face of the photo that counts most.
        encoder: The encoder's name and weights, so that embeddings of different encoders are never mixed.
        recognised: (R,), the mean embedding of the recogniser that measures generated videos.
        portraits: (h,w,3) RGB uint8 of each photo, the one that counts most first: head and shoulders.
        numbers: Of the photos that the portraits show.
        boxes: (N,4) of each photo's face: left, top, right, bottom in px; empty where it fills the photo.
        recogniser: Name of the recogniser.
    """

    embeddings: Tensor
    weights: Tensor
    picture: Tensor
    encoder: str
    recognised: NDArray[np.float32]
    portraits: tuple[Tensor, ...] = ()
    numbers: tuple[int, ...] = ()
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    recogniser: str = ""

    @property
    def mean(self) -> Tensor:
        """The weighted mean (E,), L2-normalised."""
        shares = self.weights / self.weights.sum()
        return functional.normalize((self.embeddings * shares[:, None]).sum(0), dim=0)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return everything as tensors, for a cache entry."""
        return {
            "embeddings": self.embeddings,
            "weights": self.weights,
            "picture": self.picture,
            "recognised": torch.from_numpy(self.recognised),
            "encoder": torch.tensor(list(self.encoder.encode()), dtype=torch.uint8),
            "numbers": torch.tensor(self.numbers, dtype=torch.int64),
            "boxes": self.boxes,
            "recogniser": torch.tensor(list(self.recogniser.encode()), dtype=torch.uint8),
            **{f"portrait_{number:03d}": picture for number, picture in enumerate(self.portraits)},
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Build them from what `to_tensors` returned."""
        encoder = bytes(tensors["encoder"].tolist()).decode()
        return cls(
            tensors["embeddings"],
            tensors["weights"],
            tensors["picture"],
            encoder,
            tensors["recognised"].numpy(),
            tuple(tensors[f"portrait_{number:03d}"] for number in range(len(tensors["numbers"]))),
            tuple(tensors["numbers"].tolist()),
            tensors["boxes"],
            bytes(tensors["recogniser"].tolist()).decode(),
        )


def crop_head(picture: NDArray[np.uint8], box: Sequence[float] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut head and shoulders out of a photo.

    Args:
        picture: (H,W,3) RGB uint8.
        box: (4,) of the face: left, top, right, bottom in px.

    Returns:
        (h,w,3) RGB uint8, a square where the photo reaches so far.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    half = _AROUND / 2 * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows = slice(max(0, round(y - half)), max(1, round(y + half)))
    columns = slice(max(0, round(x - half)), max(1, round(x + half)))
    return np.ascontiguousarray(picture[rows, columns])


class PhotoEncoder(Protocol):
    """Turns photos of one person into face embeddings."""

    def encode(self, photos: Sequence[Path]) -> FaceEmbeddings:
        """Embed the photos.

        Raises:
            UserError: a photo shows no face, or somebody else's; names it.
        """
        ...


class AlignedFaceEncoder:
    """Finds the one face of every photo, aligns it, and embeds it.

    Args:
        backbone: Makes an encoder of aligned faces; None: the analyzer's own recogniser.
        analyzer: Makes what finds and recognises faces.
        min_similarity: Cosine similarity to the other photos below which a photo shows somebody else.
    """

    def __init__(
        self,
        *,
        backbone: Callable[[], FaceEncoder] | None,
        analyzer: Callable[[], Analyzer],
        min_similarity: float,
    ) -> None:
        self._backbone, self._analyzer, self._min_similarity = backbone, analyzer, min_similarity

    def encode(self, photos: Sequence[Path]) -> FaceEmbeddings:
        """Embed the photos; see `PhotoEncoder`."""
        with closing(self._analyzer()) as analyzer:
            faces = [_largest_face(analyzer(read_image(photo)), photo) for photo in photos]
            name = recogniser = analyzer.embedder
        recognised = np.stack([face.embedding for face in faces])
        similarities = mean_similarity(recognised)
        odd = int(similarities.argmin())
        if len(photos) > 1 and float(similarities[odd]) < self._min_similarity:
            raise UserError(
                f"data.faces: {photos[odd]} shows somebody else (similarity {float(similarities[odd]):.2f} to the "
                "others); give photos of one person"
            )
        crops = np.stack([_align(read_image(photo), face) for photo, face in zip(photos, faces, strict=True)])
        if self._backbone is None:
            embeddings = torch.from_numpy(recognised)
        else:
            encoder = self._backbone()
            name, embeddings = encoder.name, encoder(crops)
        sharpness = np.array([laplacian_variance(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)) for crop in crops], np.float32)
        scores = np.array([face.score for face in faces], np.float32)
        sizes = np.array([min(f.box[2] - f.box[0], f.box[3] - f.box[1]) for f in faces], np.float32)
        weights = face_weights(scores, sharpness, sizes, similarities)
        mean = recognised.mean(0)
        order = [int(number) for number in (-weights).argsort()]
        portraits = tuple(torch.from_numpy(_portrait(read_image(photos[k]), faces[k].box)) for k in order)
        return FaceEmbeddings(
            embeddings,
            torch.from_numpy(weights),
            torch.from_numpy(crops[int(weights.argmax())]),
            name,
            (mean / np.linalg.norm(mean)).astype(np.float32),
            portraits,
            tuple(order),
            torch.from_numpy(np.stack([face.box for face in faces])),
            recogniser,
        )


def _largest_face(faces: Sequence[Face], photo: Path) -> Face:
    if not faces:
        raise UserError(f"data.faces: {photo} shows no face; remove it, or give a clearer photo")
    return faces[0]


def _portrait(picture: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut head and shoulders out of a photo, at no more px than a reference needs."""
    cut = crop_head(picture, box)
    scale = min(1.0, _PORTRAIT / max(cut.shape[:2]))
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA) if scale < 1 else cut, np.uint8)


def _align(picture: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    return warp_face(picture, estimate_alignment(face.keypoints, _TEMPLATE, _SIDE), _SIDE)
