"""Results of a validation: of each frame, of all frames, and of the limits."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from facesmith.metrics.figures import FACE_FIGURES
from facesmith.metrics.person import FrameMetrics

_LIMITED_METRICS: Final = {
    "min_similarity": "similarity",
    "max_judge_distance": "judge_distance",
    "max_shift": "shift",
    "max_misses": "miss_rate",
    "max_jitter": "jitter_ratio",
    "min_sharpness": "sharpness_ratio",
    "min_accepted": "accepted",
}
# figure of `FaceFigures.values`, name of its mean
_COMPARED: Final = {
    one.field: one.name
    for one in FACE_FIGURES
    if one.field not in ("nme", "pitch", "yaw", "roll")  # nme is `shift`
}


@dataclass(frozen=True)
class FrameResult:
    """Metrics of one frame."""

    file: str
    index: int
    time: float
    """In seconds."""
    metrics: FrameMetrics
    jitter: float | None
    """Of the landmarks, in eye distances."""
    target_jitter: float | None
    """Of the landmarks in the target, in eye distances."""

    def to_dict(self) -> dict[str, Any]:
        """Return the values as the JSON file holds them."""
        values = self.metrics.figures.values()
        return {
            "file": self.file,
            "frame": self.index,
            "time": self.time,
            "missed": self.metrics.missed,
            "similarity": self.metrics.similarity,
            "judge_distance": self.metrics.distance,
            "shift": self.metrics.shift,
            "jitter": self.jitter,
            "jitter_target": self.target_jitter,
            "sharpness": self.metrics.sharpness,
            "sharpness_ratio": self.metrics.sharpness_ratio,
            **{name: None if math.isnan(one := values[figure]) else one for figure, name in _COMPARED.items()},
            "rejected": self.metrics.reason or ("no face found" if self.metrics.missed else ""),
        }


@dataclass(frozen=True)
class LimitResult:
    """A limit and what was measured."""

    name: str
    """Of the setting."""
    metric: str
    """Name of the metric it limits."""
    limit: float
    value: float

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit."""
        return self.value >= self.limit if self.name.startswith("min") else self.value <= self.limit

    @property
    def condition(self) -> str:
        """The limit in words."""
        return f"{'at least' if self.name.startswith('min') else 'at most'} {self.limit:g}"

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.3f}, {self.condition} ({self.name})"

    def to_dict(self) -> dict[str, Any]:
        """Return the values as the JSON file holds them."""
        return {"name": self.name, "limit": self.limit, "value": self.value, "kept": self.passed}


def summarize(frames: Sequence[FrameResult]) -> dict[str, float]:
    """Compute the metrics of all frames by name; those that were measured nowhere are missing.

    Returns:
        `similarity`, `judge_distance`, `shift`, `jitter`, `sharpness`: means. `similarity_low`: the 5 % quantile.
        `sharpness_ratio`: median. `jitter_ratio`: mean jitter relative to the target's. `miss_rate`: share of the
        frames without a face. `judge_accepted`: share of the frames that dlib takes for the person. `accepted`: share
        of those with a face in the target whose face the quality gate accepts. The gate's figures: means, `lip_gap` of
        magnitudes, sharpness medians.
    """
    rows = [frame.to_dict() for frame in frames]

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
    for name in _COMPARED.values():
        values = [abs(value) for value in column(name)] if name == "lip_gap" else column(name)
        found[name] = float(np.median(values)) if name.startswith("sharp") and values else _mean(values)
    judged = [row["rejected"] for row in rows if row["missed"] or row["pose_error"] is not None]
    if any(row["pose_error"] is not None for row in rows):
        found["accepted"] = _mean([float(not reason) for reason in judged])
    if found["jitter_target"] > 0:
        found["jitter_ratio"] = found["jitter"] / found["jitter_target"]
    return {name: value for name, value in found.items() if not math.isnan(value)}


def rejections(frames: Sequence[FrameResult]) -> list[tuple[str, int]]:
    """Count the frames that the quality gate rejects by the gravest reason, its value left aside, commonest first."""
    reasons = (str(frame.to_dict()["rejected"]).split(",")[0].split(" (")[0] for frame in frames)
    return Counter(reason for reason in reasons if reason).most_common()


def check_limits(metrics: Mapping[str, float], limits: Mapping[str, float | None]) -> list[LimitResult]:
    """Compare metrics with limits; limits of None and metrics that were not measured are skipped.

    Args:
        metrics: Of all frames, by name.
        limits: By the name of their setting.
    """
    return [
        LimitResult(name, metric, limit, metrics[metric])
        for name, metric in _LIMITED_METRICS.items()
        if (limit := limits[name]) is not None and metric in metrics
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
