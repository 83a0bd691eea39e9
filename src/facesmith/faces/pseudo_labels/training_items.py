"""Training items of a swapper: pairs of pictures with their geometry, in memory and on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import cv2
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

_EARLIER_KINDS: Final[Mapping[str, str]] = dict(zip("PVRIE", KINDS, strict=True))


@dataclass(frozen=True)
class TrainingItems:
    """M pairs (target -> truth) on one template, and K pictures of the person in canonical coordinates.

    Attributes:
        target: (M,S,S,3) uint8 RGB.
        truth: (M,S,S,3) uint8 RGB, what the target is to become.
        hull: (M,S,S) uint8, the face's outline.
        alpha: (M,S,S) uint8, its soft form.
        canonical: (M,S,S,2) float16, where in the canonical picture each pixel lies, -1..1 from edge to edge
            (`grid_sample` with align_corners=False).
        kind: (M,) one of KINDS.
        who: (M,) int64 index of the target, -1 for self and prior.
        labels: (M,3) int64 index of the texture that serves eyes, mouth and the rest best.
        textures: (K,S,S,3) uint8 RGB.
        regions: (2,S,S) float32 in 0..1, eyes and mouth in canonical coordinates.
        core: (S,S) float32, the skin there.
    """

    target: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    hull: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    canonical: NDArray[np.float16]
    kind: NDArray[np.str_]
    who: NDArray[np.int64]
    labels: NDArray[np.int64]
    textures: NDArray[np.uint8]
    regions: NDArray[np.float32]
    core: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.target)

    @property
    def size(self) -> int:
        """Side of a crop in px."""
        return int(self.target.shape[1])

    def replace(self, **changed: NDArray[Any]) -> "TrainingItems":
        """Return the items with some arrays replaced, by name."""
        return TrainingItems(**{**vars(self), **changed})

    def resized(self, size: int) -> "TrainingItems":
        """Return the items at a smaller size in px: pictures by area; textures and regions stay as they are."""
        if size == self.size:
            return self

        def small(arrays: NDArray[np.generic]) -> NDArray[np.generic]:
            kind = arrays.dtype
            work = arrays.astype(np.float32) if kind == np.float16 else arrays
            return np.stack([cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA) for a in work]).astype(kind)

        return self.replace(
            **{name: small(getattr(self, name)) for name in ("target", "truth", "hull", "alpha", "canonical")}
        )

    def save(self, path: Path) -> None:
        """Write everything to one .npz, atomically, readable by its owner only."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            temporary.chmod(FILE)
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "TrainingItems":
        """Read what `save` of this or an earlier version wrote.

        Raises:
            KeyError: A part is missing.
        """
        with np.load(path, allow_pickle=False) as stored:
            arrays = {f.name: stored[f.name] for f in fields(cls)}
        arrays["kind"] = np.array([_EARLIER_KINDS.get(kind, kind) for kind in arrays["kind"].tolist()], np.str_)
        return cls(**arrays)


def untouched(faces: AlignedFaces, kind: str, like: TrainingItems) -> TrainingItems:
    """Make items whose truth is the target itself, without geometry or labels.

    Args:
        faces: On one template and size.
        kind: Of every item, one of KINDS.
        like: Whose textures, regions and core to take over.
    """
    count, size = len(faces), faces.size
    hulls = np.stack([np.rint(outline_mask(points, size) * 255) for points in faces.landmarks]).astype(np.uint8)
    return like.replace(
        target=faces.images,
        truth=faces.images,
        hull=hulls,
        alpha=hulls,
        canonical=np.zeros((count, size, size, 2), np.float16),
        kind=np.full(count, kind),
        who=np.full(count, -1),
        labels=np.zeros((count, 3), np.int64),
    )
