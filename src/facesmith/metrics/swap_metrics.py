"""Figures of swapped pictures: of each one, and their means."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.metrics.comparison import FaceFigures
from facesmith.metrics.figures import FACE_FIGURES
from facesmith.metrics.limits import KINDS, LEAST_ACCEPTED, MOST_MISSES, SAME_PERSON, find_broken

Floats = NDArray[np.float64]

# name of the metric: field of PictureMetrics
_MEANS: Final = {
    "identity_similarity": "similarity",
    "identity_left": "left_similarity",
    "judge_distance": "distance",
    "judge_left": "left_distance",
    "mask_iou": "iou",
    "seam": "seam",
    **{one.name: one.field for one in FACE_FIGURES if one.reduction == "mean"},
}
_MEAN_SIZES: Final = {one.name: one.field for one in FACE_FIGURES if one.reduction == "size"}
_MEDIANS: Final = {
    "sharpness": "sharpness",
    **{one.name: one.field for one in FACE_FIGURES if one.reduction == "median"},
}

_SHARES: Final = ("judge_accepted", "accepted", "passed", "miss_rate")


def _reduce(rule: Callable[[Floats], float], values: Floats) -> float:
    """Reduce what was measured; nan when nothing was."""
    return float(rule(values)) if np.isfinite(values).any() else float("nan")


@dataclass(frozen=True)
class PictureMetrics(FaceFigures):
    """Figures of one picture; those against the target are nan when no face is found.

    Attributes:
        name: Of its target.
        similarity: Cosine of the analyzer's embedding to the person's.
        distance: Of the held-out recogniser to the person.
        left_similarity: Cosine to the face that was there before.
        left_distance: Distance to the face that was there before.
        sharpness: Laplacian variance, by the pseudo truth's.
        iou: Of mask and hull, 0..1.
        seam: Edges added along the mask's rim, see `seam`.
        reason: Why it is rejected, else "".
    """

    name: str
    similarity: float
    distance: float
    left_similarity: float
    left_distance: float
    sharpness: float
    iou: float
    seam: float
    reason: str

    def values(self) -> dict[str, float]:
        """Return all figures by name, those that follow from others among them."""
        own = (field.name for field in fields(self) if field.name not in ("name", "reason"))
        figures = {**super().values(), **{name: float(getattr(self, name)) for name in own}}
        return {**figures, "identity_moved": self.left_distance - self.distance}

    @property
    def accepted(self) -> bool:
        """Whether every metric passes."""
        return not self.reason


def figure_names() -> frozenset[str]:
    """Return the names of all figures of `SwapMetrics.figures`, without prefix."""
    shares = (f"rejected_{kind}" for kind in KINDS)
    return frozenset([*_SHARES, *shares, *_MEANS, *_MEAN_SIZES, *_MEDIANS])


@dataclass(frozen=True)
class SwapMetrics:
    """Figures of several pictures, one a picture, and their means."""

    pictures: list[PictureMetrics]

    def figures(self, prefix: str) -> dict[str, float]:
        """Return means (sharpness: medians) over the pictures, by metric name: `prefix`/...

        `rejected_`... are the shares of pictures beyond a limit of each kind. What was measured on no picture is
        missing: colour without a mask, for one.
        """
        rows = self.pictures
        missed = float(np.mean([np.isnan(row.nme) for row in rows]))
        accepted = float(np.mean([row.accepted for row in rows])) if missed <= MOST_MISSES else 0.0
        figures = {
            "judge_accepted": float(np.mean([row.distance < SAME_PERSON for row in rows])),
            "accepted": accepted,
            "passed": float(accepted >= LEAST_ACCEPTED),
            "miss_rate": missed,
        }
        kinds = [{limit.kind for limit in find_broken(row.values())} for row in rows]
        figures |= {f"rejected_{kind}": float(np.mean([kind in found for found in kinds])) for kind in KINDS}
        figures |= {name: _reduce(np.nanmean, self._column(field)) for name, field in _MEANS.items()}
        figures |= {name: _reduce(np.nanmean, np.abs(self._column(field))) for name, field in _MEAN_SIZES.items()}
        figures |= {name: _reduce(np.nanmedian, self._column(field)) for name, field in _MEDIANS.items()}
        return {f"{prefix}/{name}": value for name, value in figures.items() if not np.isnan(value)}

    def _column(self, field: str) -> Floats:
        return np.array([getattr(row, field) for row in self.pictures], np.float64)
