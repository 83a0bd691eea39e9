"""Training items of a swapper: pairs of pictures with their geometry, in memory and on disk."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.files import FILE, atomic_write

KINDS: Final = ("target", "reposed", "reversed", "self", "prior")
"""Kinds of pairs; a batch carries the position in this tuple.

target: a scene's face -> its pseudo truth. reposed: the same for a face moved to another pose. reversed: the person
wearing a scene's face -> the person. self: the person -> the person. prior: somebody else, without a truth; what a base
model makes of it is to stay.
"""


@dataclass(frozen=True)
class TrainingItems:
    """M pairs (target -> truth) on one template.

    Attributes:
        target: (M,S,S,3) uint8 RGB.
        truth: (M,S,S,3) uint8 RGB, what the target is to become.
        hull: (M,S,S) uint8, the face's outline.
        alpha: (M,S,S) uint8, its soft form.
        canonical: (M,S,S,2) float16, where in the canonical picture each pixel lies, -1..1 from edge to edge
            (`grid_sample` with align_corners=False).
        kind: (M,) one of KINDS.
        who: (M,) int64 index of the target, -1 for self and prior.
    """

    target: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    hull: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    canonical: NDArray[np.float16]
    kind: NDArray[np.str_]
    who: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)

    @property
    def size(self) -> int:
        """Side of a crop in px."""
        return int(self.target.shape[1])

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "TrainingItems":
        """Return the chosen items, by an index array or a mask."""
        return TrainingItems(**{name: array[rows] for name, array in vars(self).items()})

    def save(self, path: Path) -> None:
        """Write everything to one .npz, atomically, readable by its owner only."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            temporary.chmod(FILE)
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "TrainingItems":
        """Read what `save` wrote.

        Raises:
            KeyError: A part is missing.
        """
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})


def untouched(faces: AlignedFaces, kind: str) -> TrainingItems:
    """Make items whose truth is the target itself, without geometry.

    Args:
        faces: On one template and size.
        kind: Of every item, one of KINDS.
    """
    count, size = len(faces), faces.size
    hulls = np.stack([np.rint(outline_mask(points, size) * 255) for points in faces.landmarks]).astype(np.uint8)
    return TrainingItems(
        target=faces.images,
        truth=faces.images,
        hull=hulls,
        alpha=hulls,
        canonical=np.zeros((count, size, size, 2), np.float16),
        kind=np.full(count, kind),
        who=np.full(count, -1),
    )
