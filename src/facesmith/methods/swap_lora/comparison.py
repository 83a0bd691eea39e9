"""Base and adapter side by side on the scene's tail: a film to look at, and how steady the faces are."""

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facesmith.media.visualization import image_grid
from facesmith.methods.swap_lora.neighbours import face_difference
from facesmith.training.swapping.dataset import Batch, as_bytes
from facesmith.training.swapping.evaluation import HELD_OUT_TARGET, SEEN

BASE: Final = "base"
_LEVELS: Final = 127.5
_LARGER: Final = 2
_TITLES: Final = ("target", "base", "base + LoRA")


class BaseComparison:
    """Gathers targets, and what base and adapter make of them, until they are taken."""

    def __init__(self) -> None:
        self._parts: list[dict[str, Tensor]] = []
        self._taken: dict[str, Tensor] | None = None

    def add(self, batch: Batch, base: Tensor, adapted: Tensor) -> None:
        """Add a batch of validated targets.

        Args:
            batch: target (N,3,S,S) -1..1, canonical (N,2,S,S), hull (N,1,S,S) 0..1, role (N,).
            base: (N,3,S,S) -1..1, the base's composites.
            adapted: (N,3,S,S) -1..1, those of base and adapter.
        """
        kept = {name: batch[name].float() for name in ("target", "canonical", "hull")}
        kept |= {"base": base.float(), "adapted": adapted.float(), "role": batch["role"]}
        self._parts.append({name: value.cpu() for name, value in kept.items()})

    def take(self) -> dict[str, float]:
        """Return how much neighbouring held-out faces differ, point by point, in levels of 255, and keep their film.

        `before_holdout/` is the target's own: light changes, and no camera is still.
        """
        if not self._parts:
            return {}
        whole = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        self._parts = []
        rows = (whole["role"] == HELD_OUT_TARGET).nonzero()[:, 0]
        if not len(rows):
            rows = (whole["role"] == SEEN).nonzero()[:, 0]
            self._taken = {name: value[rows] for name, value in whole.items()}
            return {}
        held = {name: value[rows] for name, value in whole.items()}
        self._taken = held
        if len(rows) < 2:
            return {}
        places = (held["canonical"][:-1], held["canonical"][1:])
        hulls = (held["hull"][:-1], held["hull"][1:])
        return {
            f"{prefix}_holdout/unsteadiness": _LEVELS
            * float(face_difference(held[name][:-1], held[name][1:], places, hulls))
            for prefix, name in (("before", "target"), (BASE, "base"), ("val", "adapted"))
        }

    def film(self) -> NDArray[np.uint8] | None:
        """Return frames (T,H,W,3) RGB uint8, target, base and adapter side by side, once; None when there are none."""
        taken, self._taken = self._taken, None
        if taken is None:
            return None
        columns = [_enlarged(as_bytes(taken[name])) for name in ("target", "base", "adapted")]
        return np.stack([image_grid([one[None] for one in row], _TITLES) for row in zip(*columns, strict=True)])


def _enlarged(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (pictures.shape[2] * _LARGER, pictures.shape[1] * _LARGER)
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in pictures])
