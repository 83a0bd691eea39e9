"""Embeds and evaluates the faces of the toy world: by their colours, where the pose video has a ring."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings
from facesmith.methods.video_lora.toy_wan.world import HEAD, embed_pixels, render_portraits

Frames = NDArray[np.uint8]

_INNER: Final = 0.7  # of the head's radius: a square inside the circle
_PORTRAIT_RADIUS: Final = 28.0
_WHITE: Final = 150  # levels: the head's ring is the only white in a pose drawing
_STRAY: Final = 4  # px outside the head's radius, beyond which white is not the ring
_GREY: Final = 128  # levels: what portraits are drawn on
_BRIGHT: Final = 115  # levels: bodies are brighter, stages darker


class ToyFaceEncoder:
    """Takes whole pictures for faces: the toy world has no other."""

    encoder: Final = "portrait_pixels_16"
    embedding_size: Final = 768

    def encode(self, photos: Sequence[Path]) -> FaceEmbeddings:
        """Embed the photos; see `PhotoEncoder`."""
        pictures = [torch.from_numpy(read_image(photo)) for photo in photos]
        embeddings = torch.cat([embed_pixels(one.permute(2, 0, 1)[None].float() / 255) for one in pictures])
        return FaceEmbeddings(
            embeddings,
            torch.ones(len(pictures)),
            pictures[0],
            self.encoder,
            embeddings.mean(0).numpy(),
            tuple(pictures),
            tuple(range(len(pictures))),
        )


class ToyEvaluator:
    """Compares heads by the colours of 4x4 fields, and bodies by where they are bright; see `VideoEvaluator`."""

    def find_heads(self, frames: Frames, poses: Frames, person: FaceEmbeddings) -> NDArray[np.float32]:
        """Return the rings in the pose video, where nobody else is; see `VideoEvaluator`."""
        return find_rings(poses)

    def recognise(self, frame: Frames, person: FaceEmbeddings) -> list[tuple[NDArray[np.float32], float]]:
        """Return no face: a frame without its pose does not say where the head is; see `VideoEvaluator`."""
        return []

    def evaluate(self, frames: Frames, truth: Frames, poses: Frames, person: FaceEmbeddings) -> dict[str, float]:
        """Compute metrics by name; see `VideoEvaluator`.

        Returns:
            Of the head's colours, less the mean person's: cosine to the person's (`likeness`) and projection on them
            (`projection`: 0 the mean person, 1 the person); `pose_agreement`, 0..1, is the overlap of the bodies.
        """
        boxes = find_rings(poses)
        photo = person.picture
        colours = _fields(photo, _photo_middle(photo), _PORTRAIT_RADIUS) - mean_person_colours()
        found = head_colours(torch.from_numpy(frames), torch.from_numpy(boxes))
        return {**compare_colours(found, colours), "pose_agreement": body_overlap(frames, truth, boxes)}

    def close(self) -> None:
        """Do nothing: there are no native sessions."""


def find_rings(poses: Frames) -> NDArray[np.float32]:
    """Return where the rings of a pose video are, which stand for heads.

    Args:
        poses: (T,H,W,3) RGB uint8.

    Returns:
        (T,4): left, top, right, bottom in px, NaN where there is none.
    """
    return np.stack([_find_ring(pose) for pose in poses])


def head_colours(frames: Tensor, boxes: Tensor) -> Tensor:
    """Return the mean colours of 4x4 fields of a head, less the mean person's.

    Args:
        frames: (T,H,W,3) uint8.
        boxes: (T,4) of the head in px, NaN where there is none.

    Returns:
        (48,) in -1..1.

    Raises:
        UserError: There is no head in any frame.
    """
    fields = []
    for frame, (left, top, right, bottom) in zip(frames, boxes.tolist(), strict=True):
        if left == left:  # a ring was seen
            fields.append(_fields(frame, ((left + right) / 2, (top + bottom) / 2), HEAD))
    if not fields:
        raise UserError("data.evaluator=toy: the poses show no head of the toy world; omit it for films of real people")
    return torch.stack(fields).mean(0) - mean_person_colours()


def portrait_colours(pictures: Tensor) -> Tensor:
    """Return the colours of portraits, less the mean person's.

    Args:
        pictures: (N,S,S,3) RGB uint8.

    Returns:
        (N,48) in -1..1.
    """
    middle = pictures.shape[1] / 2
    return torch.stack([_fields(one, (middle, middle), _PORTRAIT_RADIUS) for one in pictures]) - mean_person_colours()


def compare_colours(found: Tensor, person: Tensor) -> dict[str, float]:
    """Compare two deviations from the mean person.

    Args:
        found: (48,), of a head.
        person: (48,), of the person who should be seen.

    Returns:
        The cosine (`likeness`), and the `projection`: 0 the mean person, 1 the person.
    """
    return {
        "likeness": float(functional.cosine_similarity(found, person, dim=0)),
        "projection": float(found @ person / person.square().sum()),
    }


def body_overlap(frames: Frames, truth: Frames, boxes: NDArray[np.float32]) -> float:
    """Return intersection over union of bright places outside the head boxes.

    Args:
        frames: (T,H,W,3) uint8.
        truth: (T,H,W,3) uint8.
        boxes: (T,4) of heads in px.
    """
    found, expected = (video.mean(-1) > _BRIGHT for video in (frames, truth))
    rows, columns = np.arange(frames.shape[1])[:, None], np.arange(frames.shape[2])
    for number, (left, top, right, bottom) in enumerate(boxes):
        head = (rows > top - 3) & (rows < bottom + 3) & (columns > left - 3) & (columns < right + 3)
        found[number, head] = expected[number, head] = False
    return float((found & expected).sum() / max(1, (found | expected).sum()))


def mean_person_colours() -> Tensor:
    """Return the colours (48,) of the person whose every colour is the middle of what there is."""
    picture = (render_portraits(torch.full((1, 3, 3), 0.5)) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
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


def _find_ring(pose: Frames) -> NDArray[np.float32]:
    rows, columns = np.nonzero(pose.min(-1) > _WHITE)
    if not len(rows):
        return np.full(4, np.nan, np.float32)
    # where limbs cross, a compressed drawing can have some white, too
    near = np.hypot(columns - np.median(columns), rows - np.median(rows)) < HEAD + _STRAY
    columns, rows = columns[near], rows[near]
    x, y = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
    return np.array([x - HEAD, y - HEAD, x + HEAD, y + HEAD], np.float32)
