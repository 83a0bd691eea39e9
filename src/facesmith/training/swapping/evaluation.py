"""The validated pictures, and the evaluation of everybody in them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from facesmith.faces.face import Analyzer
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures, held_out_ssim
from facesmith.metrics.swap_metrics import SwapMetrics
from facesmith.progress import track_parts
from facesmith.training.swapping.dataset import Batch, as_bytes
from facesmith.training.swapping.splits import FaceSubset

SEEN: Final = 0  # a target that is trained on
HELD_OUT_TARGET: Final = 1
HELD_OUT_FRAME: Final = 2  # the person's own, under their own face
_REFERENCE_FRAMES: Final = 16
_AT_ONCE: Final = 4  # pictures between two moves of the bar


@dataclass(frozen=True)
class ValidationBatch:
    """N validated pictures.

    Attributes:
        pictures: What was put in and what came out.
        role: (N,) SEEN, HELD_OUT_TARGET or HELD_OUT_FRAME.
        person: (N,) number of the person each shows.
    """

    pictures: SwapPictures
    role: NDArray[np.int64]
    person: NDArray[np.int64]

    @classmethod
    def of(cls, batch: Batch, raw: Tensor, mask: Tensor, composite: Tensor) -> Self:
        """Move a batch and a generator's results to the CPU.

        Args:
            batch: target and truth (N,3,S,S) -1..1, hull (N,1,S,S) 0..1, role and person (N,).
            raw: (N,3,S,S) -1..1, the generator's face.
            mask: (N,1,S,S) 0..1.
            composite: (N,3,S,S) -1..1, what a client shows.
        """
        target, truth, face, result = map(as_bytes, (batch["target"], batch["truth"], raw, composite))
        covered, hull = (as_bytes(plane * 2 - 1)[..., 0] for plane in (mask, batch["hull"]))
        role, person = (batch[name].cpu().numpy() for name in ("role", "person"))
        return cls(SwapPictures(target, truth, face, result, covered, hull), role, person)

    @classmethod
    def concat(cls, batches: Sequence[Self]) -> Self:
        """Join batches, in order."""
        return cls(
            SwapPictures.concat([batch.pictures for batch in batches]),
            np.concatenate([batch.role for batch in batches]),
            np.concatenate([batch.person for batch in batches]),
        )


class ValidationEvaluator:
    """Evaluates the pictures of everybody who is validated; figures are means over their pictures.

    Args:
        analyzer: Makes the analyzer, which is closed with the evaluator.
        people: Each person's frames, by the number that their pictures carry.
        names: Which target each validated picture shows.
        size: Side of the crops in px.

    Attributes:
        quality: The last metrics of every picture, by prefix: before, val, val_holdout. A validation may be cut short
            (`limit_val_batches`, sanity checks): its pictures are the first ones of the whole.
    """

    def __init__(
        self, analyzer: Callable[[], Analyzer], people: Mapping[int, FaceSubset], names: Sequence[str], size: int
    ) -> None:
        self._analyzer = analyzer()
        recogniser = HeldOutRecogniser()
        self._evaluators = {
            number: SwapEvaluator(
                self._analyzer,
                recogniser,
                faces.thinned(_REFERENCE_FRAMES).aligned(size),
                faces.faces.embedding_mean("weighted"),
            )
            for number, faces in people.items()
        }
        self._names = np.array(names)
        self.quality: dict[str, SwapMetrics] = {}

    def __call__(self, validated: ValidationBatch) -> dict[str, float]:
        """Return figures by metric name: val/, val_holdout/ for held-out targets, and the first time before/."""
        figures: dict[str, float] = {}
        targets = validated.role != HELD_OUT_FRAME
        measured = len(self.quality["before"].pictures) if "before" in self.quality else 0
        if targets.sum() > measured:
            figures |= self._figures("before", validated, targets, before=True)
        return figures | self.after(validated, "val")

    def after(self, validated: ValidationBatch, prefix: str) -> dict[str, float]:
        """Compute metrics of a generator's results.

        Args:
            validated: Targets and results.
            prefix: Prefix of the metric names.

        Returns:
            Metrics as `prefix`/..., and `prefix`_holdout/... for held-out targets.
        """
        figures: dict[str, float] = {}
        if (validated.role == SEEN).any():
            figures |= self._figures(prefix, validated, validated.role == SEEN)
        if (validated.role == HELD_OUT_TARGET).any():
            figures |= self._figures(f"{prefix}_holdout", validated, validated.role == HELD_OUT_TARGET)
        own = validated.pictures[validated.role == HELD_OUT_FRAME]
        if len(own):
            figures[f"{prefix}/ssim"] = held_out_ssim(own.target, own.raw, own.hull)
        return figures

    def time_picture(self, validated: ValidationBatch) -> float:
        """Return the seconds it takes to measure a picture whose target is known.

        Args:
            validated: Pictures, of which the first is measured.
        """
        evaluate, picture = self._evaluators[int(validated.person[0])], validated.pictures[:1]
        evaluate.before(picture)  # which loads what is loaded at the first use, and remembers the target
        began = time.monotonic()
        evaluate.before(picture)
        return time.monotonic() - began

    def close(self) -> None:
        """Close the analyzer's native sessions."""
        self._analyzer.close()

    def _figures(
        self, prefix: str, validated: ValidationBatch, rows: NDArray[np.bool_], before: bool = False
    ) -> dict[str, float]:
        pictures, of_each = [], self._names[: len(rows)]
        for number, evaluate in self._evaluators.items():
            mine = rows & (validated.person == number)
            if not mine.any():
                continue
            title = (
                f"measuring {int(mine.sum())} faces before the swap" if before else f"measuring {int(mine.sum())} swaps"
            )
            few, names = validated.pictures[mine], of_each[mine].tolist()
            measure = evaluate.before if before else evaluate
            for part in track_parts(len(few), _AT_ONCE, title):
                pictures += measure(few[part], names[part]).pictures
        self.quality[prefix] = SwapMetrics(pictures)
        return self.quality[prefix].figures(prefix)
