"""Reference photos as VACE takes them: letter-boxed on white, each a video of one frame in front of the video."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.methods.video_lora.adapter_bundle import MOST
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.cache import Cache
from facesmith.methods.video_lora.dataset import Batch
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.latents import encode_video

Frames = NDArray[np.uint8]
Size = tuple[int, int]

_WHITE: Final = 255


def letterbox(picture: Frames, height: int, width: int) -> Frames:
    """Scale a picture to fit inside a size, and fill the rest evenly with white.

    Args:
        picture: (h,w,3) RGB uint8.
        height: In px.
        width: In px.

    Returns:
        (height,width,3) RGB uint8.
    """
    rows, columns = picture.shape[:2]
    scale = min(height / rows, width / columns)
    size = max(1, int(columns * scale)), max(1, int(rows * scale))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.full((height, width, 3), _WHITE, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


def encode_references(
    base: Base, cache: Cache, people: Sequence[FaceEmbeddings], sizes: Sequence[Size]
) -> tuple[dict[Size, list[Tensor]], dict[Size, Tensor]]:
    """Encode everybody's photos and a white picture at each size.

    Args:
        base: Whose VAE encodes.
        cache: Of all runs.
        people: Whose portraits are encoded.
        sizes: Height and width of clips, in px.

    Returns:
        For each size the latents (P,C,h,w) of each person's P photos, the best first, and those (C,h,w) of white.
    """
    photos: dict[Size, list[Tensor]] = {}
    whites: dict[Size, Tensor] = {}
    vae = None
    for size in dict.fromkeys(sizes):
        blank = np.full((*size, 3), _WHITE, np.uint8)
        pictures = [*(portrait.numpy() for one in people for portrait in one.portraits), blank]
        paths = [_entry(base, cache, picture, size) for picture in pictures]
        for number in cache.missing(paths):
            vae = vae or base.load_vae().to("cuda" if torch.cuda.is_available() else "cpu")
            encoded = encode_video(vae, letterbox(pictures[number], *size)[None])
            cache.write(paths[number], {"latents": encoded[:, 0]})
        found = [cache.read(path)["latents"] for path in paths]
        whites[size] = found.pop()
        photos[size] = list(torch.stack(found).split([len(one.portraits) for one in people]))
    return photos, whites


class References:
    """Everybody's encoded photos, of which batches get some in front of their clips.

    Args:
        photos: For each size the latents (P,C,h,w) of each person's photos, the best first.
        whites: For each size those (C,h,w) of a white picture.
        most: Photos of a clip at most.
        share: Of the batches that have photos.
    """

    def __init__(
        self, photos: Mapping[Size, list[Tensor]], whites: Mapping[Size, Tensor], *, most: int, share: float
    ) -> None:
        self._photos, self._whites, self._most, self._share = photos, whites, most, share

    def draw(self, batch: Batch, size: Size) -> Tensor | None:
        """Draw photos for a batch that is trained on, from torch's global generator.

        Args:
            batch: Of `collate`.
            size: Height and width of its clips, in px.

        Returns:
            (N,C,R,h,w), or None: no photos.
        """
        if size not in self._photos:
            return None
        count = int(torch.randint(1, self._most + 1, ())) if float(torch.rand(())) < self._share else 0
        if not count or bool(batch["prior"].all()):
            return None
        return sample_references(
            self._photos[size],
            self._whites[size],
            identities=batch["identity"],
            prior=batch["prior"],
            own=batch["photo"],
            count=count,
        ).to(batch["latents"])

    def best(self, batch: Batch, size: Size) -> Tensor | None:
        """Return the best photos of who is seen in each clip, as `draw` does."""
        if size not in self._photos:
            return None
        best = [self._photos[size][identity][: self._most] for identity in batch["identity"].tolist()]
        return torch.stack([one.transpose(0, 1) for one in best]).to(batch["latents"])


def sample_references(
    photos: Sequence[Tensor], white: Tensor, *, identities: Tensor, prior: Tensor, own: Tensor, count: int
) -> Tensor:
    """Draw different photos of who is seen in each clip; the base's own clips get white pictures.

    Args:
        photos: (P,C,h,w) latents of each person's photos.
        white: (C,h,w) latents of a white picture.
        identities: (N,) who is seen in each clip.
        prior: (N,) whether the base generated it.
        own: (N,) number of the photo that a clip shows, which is never its own reference; -1: none.
        count: R, photos of each clip.

    Returns:
        (N,C,R,h,w).
    """
    rows = []
    for identity, generated, shown in zip(identities.tolist(), prior.tolist(), own.tolist(), strict=True):
        if generated:
            rows.append(white.expand(count, *white.shape))
            continue
        chosen = [number for number in torch.randperm(len(photos[identity])).tolist() if number != shown]
        while len(chosen) < count:  # fewer photos than asked for: some are seen twice
            chosen += chosen or [shown]
        rows.append(photos[identity][chosen[:count]])
    return torch.stack(rows).transpose(1, 2)


def best_portraits(people: Sequence[FaceEmbeddings]) -> list[Frames]:
    """Return the best photos of the first person, (h,w,3) RGB uint8, as they go into exports."""
    return [portrait.numpy() for portrait in people[0].portraits[:MOST]]


def _entry(base: Base, cache: Cache, picture: Frames, size: Size) -> Path:
    shown = sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()
    return cache.path("references", picture=shown, size=list(size), codec=base.vae_fingerprint)
