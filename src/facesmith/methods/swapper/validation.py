"""What validation saw, gathered and held against the quality gate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from facesmith.faces.face import Analyzer
from facesmith.methods.swapper.grid import to_bytes
from facesmith.methods.swapper.splits import Part, spread
from facesmith.metrics.swap import Judge, Quality, QualityGate, held_out_ssim

SEEN: Final = 0  # a target that is trained on
HELD_TARGET: Final = 1
HELD_FRAME: Final = 2  # the person's own, under their own face
_REFERENCES: Final = 16


@dataclass(frozen=True)
class Shot:
    """N validated pictures.

    target, truth, raw, shown: (N,S,S,3) uint8 RGB. mask, hull: (N,S,S) uint8. role, person: (N,).
    """

    target: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    raw: NDArray[np.uint8]
    shown: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    hull: NDArray[np.uint8]
    role: NDArray[np.int64]
    person: NDArray[np.int64]

    def where(self, rows: NDArray[np.bool_]) -> "Shot":
        """Return some of the pictures."""
        return Shot(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.target)


class Shots:
    """Gathers batches until they are taken."""

    def __init__(self) -> None:
        self._parts: list[Shot] = []

    def add(self, batch: dict[str, Tensor], raw: Tensor, mask: Tensor, shown: Tensor, _: Tensor) -> None:
        """Keep a batch and what the generator made of it."""
        target, truth, face, result = map(to_bytes, (batch["target"], batch["truth"], raw, shown))
        covered, hull = (to_bytes(plane * 2 - 1)[..., 0] for plane in (mask, batch["hull"]))
        role, person = (batch[name].cpu().numpy() for name in ("role", "person"))
        self._parts.append(Shot(target, truth, face, result, covered, hull, role, person))

    def take(self) -> Shot:
        """Return everything gathered since the last time."""
        parts, self._parts = self._parts, []
        return Shot(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Shot)))


class Gate:
    """The quality gate of every person that is validated; figures are means over people.

    `analyzer` makes the analyzer, which is closed with the gate; `people` are each person's frames, by the number their
    pictures carry; `names` say which target each validated picture shows. `quality` holds the last verdicts by prefix.
    """

    def __init__(
        self, analyzer: Callable[[], Analyzer], people: dict[int, Part], names: Sequence[str], size: int
    ) -> None:
        self._analyzer = analyzer()
        judge = Judge()
        self._gates = {
            number: QualityGate(
                self._analyzer,
                judge,
                Part(part.faces, part.rows[spread(len(part), _REFERENCES)]).aligned(size),
                part.faces.embedding_mean("weighted"),
            )
            for number, part in people.items()
        }
        self._names = np.array(names)
        self.quality: dict[str, Quality] = {}

    def __call__(self, shots: Shot) -> dict[str, float]:
        """Return figures by metric name: val/, val_holdout/ for held-out targets, and the first time before/."""
        figures: dict[str, float] = {}
        if "before" not in self.quality:
            figures |= self._figures("before", shots, shots.role != HELD_FRAME, before=True)
        return figures | self.after(shots, "val")

    def after(self, shots: Shot, prefix: str) -> dict[str, float]:
        """Return the figures of what a generator made: `prefix`/, and `prefix`_holdout/ for held-out targets."""
        figures = self._figures(prefix, shots, shots.role == SEEN)
        if (shots.role == HELD_TARGET).any():
            figures |= self._figures(f"{prefix}_holdout", shots, shots.role == HELD_TARGET)
        own = shots.where(shots.role == HELD_FRAME)
        if len(own):
            figures[f"{prefix}/ssim"] = held_out_ssim(own.target, own.raw, own.hull)
        return figures

    def close(self) -> None:
        """Return the analyzer's native sessions back."""
        self._analyzer.close()

    def _figures(self, prefix: str, shots: Shot, rows: NDArray[np.bool_], before: bool = False) -> dict[str, float]:
        verdicts = []
        for number, gate in self._gates.items():
            mine = rows & (shots.person == number)
            if not mine.any():
                continue
            few, names = shots.where(mine), self._names[mine].tolist()
            if before:
                quality = gate.before(few.target, few.truth, few.hull, names)
            else:
                quality = gate(few.target, few.truth, few.raw, few.shown, few.mask, few.hull, names)
            verdicts += quality.verdicts
        self.quality[prefix] = Quality(verdicts)
        return self.quality[prefix].figures(prefix)
