"""Figures of all pairs with their intervals, and two sets of swaps compared pair by pair."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesmith.metrics.figures import Figure
from facesmith.metrics.statistics import Estimate, adjust_p_values, estimate, paired_p_value, reduce_values
from facesmith.tasks.evaluate.measuring import PairResult

Table = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Comparison:
    """A figure of two sets of swaps on the same pairs.

    Attributes:
        figure: What was measured.
        ours: Of the swaps, over the pairs that both have.
        theirs: Of the others.
        p_value: Of the permutation test of the paired differences.
        adjusted: The same adjusted for the number of figures (Holm).
        count: Pairs that both have.
    """

    figure: Figure
    ours: float
    theirs: float
    p_value: float
    adjusted: float
    count: int


def tabulate(results: Iterable[PairResult], figures: Sequence[Figure]) -> Table:
    """Return a column a figure, nan where a pair lacks it.

    Args:
        results: A row each.
        figures: A column each.
    """
    columns: dict[str, list[float]] = {figure.name: [] for figure in figures}
    for result in results:
        for name, column in columns.items():
            column.append(result.figures.get(name, math.nan))
    return {name: np.asarray(column, np.float64) for name, column in columns.items()}


def summarize(table: Table, figures: Sequence[Figure]) -> dict[str, Estimate]:
    """Estimate each figure that was measured on some pair, by name.

    Args:
        table: Of `tabulate`.
        figures: Those to estimate.
    """
    found = {figure.name: estimate(table[figure.name], figure.reduction) for figure in figures}
    return {name: one for name, one in found.items() if one.count}


def compare(ours: Table, theirs: Table, figures: Sequence[Figure]) -> list[Comparison]:
    """Compare two sets of swaps of the same pairs, figure by figure.

    Args:
        ours: Of `tabulate`.
        theirs: Of the same pairs, in the same order.
        figures: Those to compare; one measured on fewer than two pairs of both is left out.
    """
    rows = list[Comparison]()
    for figure in figures:
        a, b = ours[figure.name], theirs[figure.name]
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() >= 2:
            mean, other = (reduce_values(one[both], figure.reduction) for one in (a, b))
            p_value = paired_p_value(a[both], b[both], figure.reduction)
            rows.append(Comparison(figure, mean, other, p_value, math.nan, int(both.sum())))
    adjusted = adjust_p_values(np.array([row.p_value for row in rows], np.float64))
    return [replace(row, adjusted=float(each)) for row, each in zip(rows, adjusted, strict=True)]


def to_dict(one: object) -> dict[str, Any]:
    """Return what the JSON file holds: nan as null, a figure as its name."""
    values = {name: value.name if isinstance(value, Figure) else value for name, value in vars(one).items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
