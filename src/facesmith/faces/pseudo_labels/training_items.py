"""What a swapper learns from: pairs of pictures with their geometry, in memory and on disk."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith.files import FILE, atomic_write

KINDS: Final = ("P", "V", "R", "I", "E")  # a batch carries the position in this tuple


@dataclass(frozen=True)
class TrainingItems:
    """M pairs (target -> truth) on one template, and K pictures of the person in canonical coordinates.

    target, truth: (M,S,S,3) uint8 RGB. hull, alpha: (M,S,S) uint8, the face's outline and its soft form.
    canonical: (M,S,S,2) float16, where in the canonical picture each pixel lies, -1..1 from edge to edge
    (`grid_sample` with align_corners=False). kind: (M,) "P" target to pseudo truth, "V" the same for a target
    re-posed, "R" person wearing a target's face to the person, "I" person to the person; "E" has no truth, and shows
    somebody elsewhere. who: (M,) int64 index of the target, -1 for I and E. labels: (M,3) int64 index of the texture
    that serves eyes, mouth and the rest best. textures: (K,S,S,3) uint8. regions: (2,S,S) float32 in 0..1, eyes and
    mouth in canonical coordinates. core: (S,S) float32, the skin there.
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

    def reduced(self, size: int) -> "TrainingItems":
        """Return the same items at a smaller size (pictures by area; textures and regions stay as they are)."""
        if size == self.size:
            return self

        def small(arrays: NDArray[np.generic]) -> NDArray[np.generic]:
            kind = arrays.dtype
            work = arrays.astype(np.float32) if kind == np.float16 else arrays
            return np.stack([cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA) for a in work]).astype(kind)

        named = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("target", "truth", "hull", "alpha", "canonical"):
            named[name] = small(named[name])
        return TrainingItems(**named)

    def save(self, path: Path) -> None:
        """Write everything to one .npz, atomically, readable by its owner only."""
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            temporary.chmod(FILE)
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "TrainingItems":
        """Read what `save` wrote; KeyError when a part is missing."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})
