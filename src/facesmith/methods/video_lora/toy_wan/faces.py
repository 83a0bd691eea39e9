"""How the faces of the tiny world are read and judged: by their colours, at places the pose video tells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facesmith.media.images import read_image
from facesmith.methods.video_lora.identities import References
from facesmith.methods.video_lora.toy_wan.world import HEAD, pixels_embedding, portraits

Frames = NDArray[np.uint8]

_INNER: Final = 0.7  # of the head's radius: a square inside the circle
_PORTRAIT_RADIUS: Final = 28.0
_WHITE: Final = 150  # levels: the head's ring is the only white in a pose drawing
_STRAY: Final = 4  # px outside the head's radius, beyond which white is not the ring
_GREY: Final = 128  # levels: what portraits are drawn on
_BRIGHT: Final = 115  # levels: bodies are brighter, stages darker


class PortraitReader:
    """Takes whole pictures for faces: the world has no other."""

    encoder: Final = "portrait_pixels_16"
    embedding_size: Final = 768

    def read(self, photos: Sequence[Path]) -> References:
        """Read the photos."""
        pictures = [torch.from_numpy(read_image(photo)) for photo in photos]
        embeddings = torch.cat([pixels_embedding(one.permute(2, 0, 1)[None].float() / 255) for one in pictures])
        return References(embeddings, torch.ones(len(pictures)), pictures[0], self.encoder, embeddings.mean(0).numpy())


class DancerJudge:
    """Compares heads by the colours of 4x4 fields, and bodies by where they are bright."""

    def boxes(self, frames: Frames, poses: Frames) -> NDArray[np.float32]:
        """Return the boxes of the rings in the pose video."""
        return np.stack([_ring(pose) for pose in poses])

    def figures(self, frames: Frames, truth: Frames, poses: Frames, references: References) -> dict[str, float]:
        """Return cosine (`likeness`) and projection on the person's colours from the mean person; body overlap."""
        boxes = self.boxes(frames, poses)
        photo = references.picture
        person = _fields(photo, _photo_middle(photo), _PORTRAIT_RADIUS) - mean_person()
        found = head_fields(torch.from_numpy(frames), torch.from_numpy(boxes))
        return {**compared(found, person), "pose_agreement": body_overlap(frames, truth, boxes)}

    def close(self) -> None:
        """Nothing to give back."""


def head_fields(frames: Tensor, boxes: Tensor) -> Tensor:
    """Return (48,): mean colours of 4x4 fields of a head in (T,H,W,3) uint8 frames, less the mean person's."""
    fields = []
    for frame, (left, top, right, bottom) in zip(frames, boxes.tolist(), strict=True):
        if left == left:  # a ring was seen
            fields.append(_fields(frame, ((left + right) / 2, (top + bottom) / 2), HEAD))
    return torch.stack(fields).mean(0) - mean_person()


def portrait_fields(pictures: Tensor) -> Tensor:
    """Return (N,48) of portraits (N,S,S,3) uint8, from the mean person's."""
    middle = pictures.shape[1] / 2
    return torch.stack([_fields(one, (middle, middle), _PORTRAIT_RADIUS) for one in pictures]) - mean_person()


def compared(found: Tensor, person: Tensor) -> dict[str, float]:
    """Return the cosine of two (48,) deviations from the mean person, and the projection: 0 the mean, 1 the person."""
    return {
        "likeness": float(functional.cosine_similarity(found, person, dim=0)),
        "projection": float(found @ person / person.square().sum()),
    }


def body_overlap(frames: Frames, truth: Frames, boxes: NDArray[np.float32]) -> float:
    """Intersection over union of bright places outside the head boxes."""
    drawn, wanted = (video.mean(-1) > _BRIGHT for video in (frames, truth))
    rows, columns = np.arange(frames.shape[1])[:, None], np.arange(frames.shape[2])
    for shown, (left, top, right, bottom) in enumerate(boxes):
        head = (rows > top - 3) & (rows < bottom + 3) & (columns > left - 3) & (columns < right + 3)
        drawn[shown, head] = wanted[shown, head] = False
    return float((drawn & wanted).sum() / max(1, (drawn | wanted).sum()))


def mean_person() -> Tensor:
    """Return (48,): the fields of the person whose every colour is the middle of what there is."""
    picture = (portraits(torch.full((1, 3, 3), 0.5)) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return _fields(picture[0], (32.0, 32.0), _PORTRAIT_RADIUS)


def _fields(picture: Tensor, middle: tuple[float, float], radius: float) -> Tensor:
    """Return (48,) in 0..1: the square inside a head, averaged over 4x4 fields."""
    x, y = middle
    reach = radius * _INNER
    grid = (torch.arange(16) + 0.5) / 16 * 2 - 1
    height, width = picture.shape[:2]
    columns, rows = (x + grid * reach) / (width - 1) * 2 - 1, (y + grid * reach) / (height - 1) * 2 - 1
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
    inside = functional.grid_sample(picture.permute(2, 0, 1)[None].float() / 255, places, align_corners=True)
    return functional.avg_pool2d(inside, 4).flatten()


def _photo_middle(picture: Tensor) -> tuple[float, float]:
    """Return x and y of the middle of a face on grey."""
    rows, columns = ((picture.int() - _GREY).abs().amax(-1) > 12).nonzero().T.float()
    return float((columns.min() + columns.max()) / 2), float((rows.min() + rows.max()) / 2)


def _ring(pose: Frames) -> NDArray[np.float32]:
    rows, columns = np.nonzero(pose.min(-1) > _WHITE)
    if not len(rows):
        return np.full(4, np.nan, np.float32)
    # where limbs cross, a compressed drawing can have some white, too
    near = np.hypot(columns - np.median(columns), rows - np.median(rows)) < HEAD + _STRAY
    columns, rows = columns[near], rows[near]
    x, y = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    return np.array([x - HEAD, y - HEAD, x + HEAD, y + HEAD], np.float32)
