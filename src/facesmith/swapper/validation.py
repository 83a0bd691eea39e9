"""What validation saw, gathered for the quality gate."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from facesmith.swapper.grid import to_bytes

SEEN: Final = 0  # a target that is trained on
HELD_TARGET: Final = 1
HELD_FRAME: Final = 2  # the person's own, under their own face


@dataclass(frozen=True)
class Shot:
    """N validated pictures: target, truth, raw, shown (N,S,S,3) uint8 RGB; mask, hull (N,S,S) uint8; role, person (N,)."""

    target: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    raw: NDArray[np.uint8]
    shown: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    hull: NDArray[np.uint8]
    role: NDArray[np.int64]
    person: NDArray[np.int64]

    def of(self, role: int, person: int) -> "Shot":
        """Give the pictures of one role and person."""
        rows = (self.role == role) & (self.person == person)
        return Shot(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def __len__(self) -> int:
        return len(self.target)


class Shots:
    """Gathers batches until they are taken."""

    def __init__(self) -> None:
        self._parts: list[Shot] = []

    def add(self, batch: dict[str, Tensor], raw: Tensor, mask: Tensor, shown: Tensor, _: Tensor) -> None:
        """Keep a batch and what the generator made of it."""
        planes = [to_bytes(plane * 2 - 1)[..., 0] for plane in (mask, batch["hull"])]
        pictures = [to_bytes(picture) for picture in (batch["target"], batch["truth"], raw, shown)]
        labels = [batch[name].cpu().numpy() for name in ("role", "person")]
        self._parts.append(Shot(*pictures, *planes, *labels))

    def take(self) -> Shot:
        """Give everything gathered since the last time."""
        parts, self._parts = self._parts, []
        return Shot(
            **{n: np.concatenate([getattr(part, n) for part in parts]) for n in Shot.__dataclass_fields__}
        )
