"""Learning curves from the runs' CSV logs."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FILE: Final = "metrics.csv"
_POINTS: Final = 160  # a curve is thinned to about so many
_TAIL: Final = 16_384  # bytes
_WANTED: Final = ("val", "train/loss")

Curves = dict[str, list[tuple[float, float]]]


def read_curves(folder: Path) -> Curves:
    """Give (step, value) pairs of the validation's metrics and the loss; a damaged or absent log gives what it can."""
    try:
        with (folder / FILE).open(newline="", encoding="utf-8", errors="replace") as file:
            return _read(csv.DictReader(line.replace("\0", "") for line in file))
    except (OSError, csv.Error):
        return {}


def epochs_logged(folder: Path) -> int:
    """Give how many whole epochs the end of a run's log tells of; 0 when there is none."""
    try:
        with (folder / FILE).open("rb") as file:
            header = file.readline().decode(errors="replace").strip().split(",")
            file.seek(max(file.tell(), file.seek(0, 2) - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0
    cells = [line.split(",") for line in lines]
    place = header.index("epoch") if "epoch" in header else len(header)
    found = [_number(row[place]) for row in cells if len(row) == len(header) and place < len(row)]
    return int(max((epoch for epoch in found if epoch is not None), default=0))


def _read(rows: Iterable[dict[str, str]]) -> Curves:
    curves: Curves = {}
    for row in rows:
        step = _number(row.get("step"))
        if step is None:
            continue
        for name, text in row.items():
            if name and name.startswith(_WANTED) and (value := _number(text)) is not None:
                curves.setdefault(name, []).append((step, value))
    return {name: _thinned(points) for name, points in curves.items()}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours, so that a noisy curve keeps its course."""
    size = max(1, math.ceil(len(points) / _POINTS))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], float(f"{sum(v for _, v in group) / len(group):.5g}")) for group in groups]
