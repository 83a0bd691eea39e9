"""Neighbouring frames: which they are, how they meet in a batch, how different two swaps of them are."""

from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from facesmith.training.losses import masked_mean
from facesmith.training.swapping.dataset import Batch, MixedBatchSampler
from facesmith.training.swapping.splits import FaceSubset

_STEPS: Final = 4
_DAMPING: Final = 0.7


def next_frames(faces: FaceSubset) -> NDArray[np.int64]:
    """Return (N,) the position of each face's next frame, -1 where there is none: the next kept face of its track."""
    tracks = faces.faces.tracks[faces.rows]
    stills = np.isnan(faces.faces.times[faces.rows])
    after = np.full(len(faces), -1, np.int64)
    for track in np.unique(tracks[~stills]):
        rows = np.flatnonzero(tracks == track)
        after[rows[:-1]] = rows[1:]
    return after


class NeighbourSampler(MixedBatchSampler):
    """Batches whose second item is the next frame of the first, where it has one.

    Args:
        after: (M,) the position of each item's next frame, -1 for none.
        arguments: Of `MixedBatchSampler`.
    """

    def __init__(self, after: NDArray[np.int64], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._after = after

    def _plan(self, random: np.random.Generator) -> list[list[int]]:
        plan = super()._plan(random)
        for batch in plan:
            if len(batch) > 1 and self._after[batch[0]] >= 0:
                batch[1] = int(self._after[batch[0]])
        return plan


def neighbour_rows(batch: Batch) -> Tensor:
    """Return (P,) the rows whose next row shows the next frame; reads (N,) "item" and "after"."""
    return (batch["after"][:-1] == batch["item"][1:]).nonzero()[:, 0]


def face_difference(
    first: Tensor, second: Tensor, places: tuple[Tensor, Tensor], hulls: tuple[Tensor, Tensor]
) -> Tensor:
    """Compute the mean absolute difference of two pictures of one face, point of the face by point.

    Args:
        first: (N,3,S,S).
        second: (N,3,S,S).
        places: (N,2,S,S) each, where in the canonical face each pixel lies, from the landmarks.
        hulls: (N,1,S,S) each, 0..1.

    Returns:
        A scalar, differentiable in the pictures.
    """
    grid = correspondence(*places)
    there = F.grid_sample(torch.cat([second, hulls[1].to(second.dtype)], 1), grid, align_corners=False)
    return masked_mean((first - there[:, :-1]).abs(), hulls[0] * there[:, -1:])


@torch.no_grad()
def correspondence(first: Tensor, second: Tensor) -> Tensor:
    """Find where in a second picture each pixel's point of the face is.

    The places are close to the pixels' own, so that a few damped steps find where they are equal.

    Args:
        first: (N,2,S,S) canonical places, -1..1.
        second: (N,2,S,S) canonical places, -1..1.

    Returns:
        A sampling grid (N,S,S,2).
    """
    size = first.shape[-1]
    at = (torch.arange(size, dtype=first.dtype, device=first.device) + 0.5) * (2 / size) - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).expand(len(first), -1, -1, -1)
    for _ in range(_STEPS):
        found = F.grid_sample(second, grid, padding_mode="border", align_corners=False)
        grid = grid + _DAMPING * (first - found).permute(0, 2, 3, 1)
    return grid
