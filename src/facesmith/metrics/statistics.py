"""How sure a figure is: intervals of means, medians and shares, and whether two sets of swaps differ."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Reduction = Literal["mean", "size", "median", "share"]
"""Of many values to one: mean; mean of magnitudes; median; mean of values that are 0, 1 or a share of frames."""

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
LEAST_PAIRS: Final[dict[Reduction, int]] = {"mean": 4, "size": 4, "median": 5, "share": 2}
"""Values that an interval needs: with fewer, none covers the truth as often as it says."""
_FEW: Final = 7
_LEVEL_OF_FEW: Final = 0.965
"""At which the bootstrap-t interval of few values covers 93 to 97 % of the truth: calibrated by simulation."""
_PERMUTATIONS: Final = 9999
_BATCH_VALUES: Final = 4_000_000  # of resampled values in memory at once


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval.

    Attributes:
        value: nan where nothing was measured.
        low: Lower end; nan where fewer than LEAST_PAIRS values are known.
        high: Upper end.
        count: How many values there are.
    """

    value: float
    low: float
    high: float
    count: int


def reduce_values(values: Floats, reduction: Reduction) -> float:
    """Reduce values (N,) to one figure; those that are nan do not count, and where there is no other it is nan."""
    known = values[np.isfinite(values)]
    if not len(known):
        return math.nan
    return float(_rule(reduction)(np.abs(known) if reduction == "size" else known))


def estimate(values: Floats, reduction: Reduction, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Reduce independent values to one figure with its 95 % interval.

    Means have the bootstrap-t interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993), which holds for
    skewed figures too, of fewer than seven values at a level calibrated by simulation; it does not go below 0 where no
    value does. Medians have the interval between order statistics,
    interpolated (Hettmansperger and Sheather, 1986), which holds for any distribution. Shares of pictures have Wilson's
    interval, which 0 and 1 have too. Below LEAST_PAIRS values there is none.

    Args:
        values: (N,), one a pair; those that are nan were not measured and do not count.
        reduction: How they are reduced.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    known = values[np.isfinite(values)]
    if reduction == "size":
        known = np.abs(known)
    count, value = len(known), reduce_values(known, reduction)
    if count < LEAST_PAIRS[reduction]:
        return Estimate(value, math.nan, math.nan, count)
    if reduction == "median":
        return Estimate(value, *_order_interval(np.sort(known)), count)
    if reduction == "share":
        if np.isin(known, (0.0, 1.0)).all():
            found = stats.binomtest(round(known.sum()), count).proportion_ci(LEVEL, method="wilson")
            return Estimate(value, float(found.low), float(found.high), count)
        if count < LEAST_PAIRS["mean"]:  # shares of the frames of videos
            return Estimate(value, math.nan, math.nan, count)
    low, high = (value, value) if np.ptp(known) == 0 else _bootstrap_t(known, resamples, seed)
    low = max(low, 0.0) if known.min() >= 0 else low
    return Estimate(value, low, min(high, 1.0) if reduction == "share" else high, count)


def paired_p_value(ours: Floats, theirs: Floats, reduction: Reduction, *, seed: int = 0) -> float:
    """Test by permutation whether two tools differ on the same pairs: both signs of each difference are as likely.

    Args:
        ours: (N,), one a pair.
        theirs: (N,), of the same pairs.
        reduction: `size` compares magnitudes.
        seed: Of the permutations; where there are few enough, all of them are tried.

    Returns:
        Two-sided p of the mean difference, of medians of the median difference; nan for fewer than two pairs.
    """
    if reduction == "size":
        ours, theirs = np.abs(ours), np.abs(theirs)
    apart = (ours - theirs)[np.isfinite(ours - theirs)]
    if len(apart) < 2:
        return math.nan
    found = stats.permutation_test(
        (apart,),
        _rule(reduction),
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        batch=max(1, _BATCH_VALUES // len(apart)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def adjust_p_values(values: Floats) -> Floats:
    """Adjust p values of many figures for their number (Holm): below .05, even the least of them is no accident.

    Args:
        values: (N,); nan stays nan.
    """
    result = np.full(len(values), math.nan)
    rows = np.flatnonzero(np.isfinite(values))
    order = rows[np.argsort(values[rows], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return result


def _bootstrap_t(values: Floats, resamples: int, seed: int) -> tuple[float, float]:
    """Return the ends of the bootstrap-t interval of the mean of values (N,)."""
    random, count = np.random.default_rng(seed), len(values)
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(count)
    found = []
    for start in range(0, resamples, batch := max(1, _BATCH_VALUES // count)):
        drawn = values[random.integers(0, count, (min(batch, resamples - start), count))]
        errors = drawn.std(axis=1, ddof=1) / math.sqrt(count)
        known = errors > 0
        found.append((drawn.mean(axis=1)[known] - mean) / errors[known])
    level = _LEVEL_OF_FEW if count < _FEW else LEVEL
    low, high = np.quantile(np.concatenate(found), [0.5 - level / 2, 0.5 + level / 2])
    return float(mean - high * error), float(mean - low * error)


def _rule(reduction: Reduction) -> Callable[..., Floats]:
    return np.median if reduction == "median" else np.mean


def _order_interval(values: Floats) -> tuple[float, float]:
    """Return the ends of the interval of the median of sorted values (N,), N of 5 or more."""
    count = len(values)
    covered = 1 - 2 * stats.binom.cdf(np.arange(count // 2), count, 0.5)  # between the k-th values from both ends
    if covered[0] < LEVEL:  # five values: 94 %
        return float(values[0]), float(values[-1])
    inner = int((covered >= LEVEL).sum())  # the narrowest that is wide enough, counted from 1; the next is too narrow
    beyond = 1 - 2 * stats.binom.cdf(inner, count, 0.5)
    share = (covered[inner - 1] - LEVEL) / (covered[inner - 1] - beyond)
    share = (count - inner) * share / (inner + (count - 2 * inner) * share)
    low = (1 - share) * values[inner - 1] + share * values[inner]
    return float(low), float((1 - share) * values[-inner] + share * values[-inner - 1])
