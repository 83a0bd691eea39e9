"""What a validation says of each frame and of all, and the limits it is held against."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from facesmith.metrics.person import FrameMetrics

_LIMITS: Final = {
    "min_similarity": "similarity",
    "max_judge_distance": "judge_distance",
    "max_shift": "shift",
    "max_misses": "miss_rate",
    "max_jitter": "jitter_ratio",
    "min_sharpness": "sharpness_ratio",
}


@dataclass(frozen=True)
class Frame:
    """One frame. jitter, jitter_before: trembling of the landmarks now and in the target, by the eye distance."""

    file: str
    index: int
    time: float
    figures: FrameMetrics
    jitter: float | None
    jitter_before: float | None

    def plain(self) -> dict[str, Any]:
        """Return what goes into the JSON."""
        return {
            "file": self.file,
            "frame": self.index,
            "time": self.time,
            "missed": self.figures.missed,
            "similarity": self.figures.similarity,
            "judge_distance": self.figures.distance,
            "shift": self.figures.shift,
            "jitter": self.jitter,
            "jitter_target": self.jitter_before,
            "sharpness": self.figures.sharpness,
            "sharpness_ratio": self.figures.sharpness_ratio,
        }


@dataclass(frozen=True)
class Limit:
    """A limit and what was measured."""

    name: str
    figure: str
    limit: float
    value: float

    @property
    def kept(self) -> bool:
        """Tell whether it is kept."""
        return self.value >= self.limit if self.name.startswith("min") else self.value <= self.limit

    @property
    def words(self) -> str:
        """Say it."""
        return f"{'at least' if self.name.startswith('min') else 'at most'} {self.limit:g}"

    def __str__(self) -> str:
        return f"{self.figure} {self.value:.3f}, {self.words} ({self.name})"

    def plain(self) -> dict[str, Any]:
        """Return what goes into the JSON."""
        return {"name": self.name, "limit": self.limit, "value": self.value, "kept": self.kept}


def summary(frames: Sequence[Frame]) -> dict[str, float]:
    """Return the figures of all frames; what was not measured anywhere is left out.

    similarity, judge_distance, shift, jitter: means; similarity_low: exceeded by 95 % of the frames. sharpness_ratio:
    median. jitter_ratio: of the means, now to before. miss_rate: of the frames that should show the face.
    """
    rows = [frame.plain() for frame in frames]

    def column(name: str) -> list[float]:
        return [row[name] for row in rows if row[name] is not None]

    found = {
        "frames": float(len(rows)),
        "miss_rate": float(np.mean([row["missed"] for row in rows])),
        "similarity": _mean(column("similarity")),
        "similarity_low": float(np.quantile(column("similarity"), 0.05)) if column("similarity") else math.nan,
        "judge_distance": _mean(column("judge_distance")),
        "judge_accepted": _mean([float(value < 0.6) for value in column("judge_distance")]),
        "shift": _mean(column("shift")),
        "jitter": _mean(column("jitter")),
        "jitter_target": _mean(column("jitter_target")),
        "sharpness": _mean(column("sharpness")),
        "sharpness_ratio": float(np.median(column("sharpness_ratio"))) if column("sharpness_ratio") else math.nan,
    }
    if found["jitter_target"] > 0:
        found["jitter_ratio"] = found["jitter"] / found["jitter_target"]
    return {name: value for name, value in found.items() if not math.isnan(value)}


def limits(figures: Mapping[str, float], wanted: Mapping[str, float | None]) -> list[Limit]:
    """Hold figures against limits; what was not measured is not judged."""
    return [
        Limit(name, figure, value, figures[figure])
        for name, figure in _LIMITS.items()
        if (value := wanted[name]) is not None and figure in figures
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
