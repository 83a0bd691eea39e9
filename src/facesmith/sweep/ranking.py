"""Ranking of runs by metrics, with the parameters they differ in."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.sweep.runs import Run
from facesmith.training.run.naming import shorten_keys
from facesmith.training.run.record import Monitor

DEFAULT: Final = "default"
_NOT_COMPARED: Final = re.compile(
    r"(resume|busy|name|tags|hydra)($|\.)|(paths|logger|logging|assets|provenance)[./]|logger$"
)


@dataclass(frozen=True)
class RankedRun:
    """One run of a ranking."""

    run: Run
    rank: int | None
    """From 1, among completed runs; None for the others."""
    values: tuple[float | None, ...]
    """One per objective, None where there is none; of a run that is not complete the best so far."""
    pareto: bool
    """Whether no completed run is better in one objective and as good in all."""
    parameters: dict[str, Any]
    """By key, what the runs differ in."""


@dataclass(frozen=True)
class Ranking:
    """Runs from best to worst, incomplete ones last.

    With several objectives those of the Pareto front come first; each part is ordered by the first objective.
    """

    objectives: tuple[Monitor, ...]
    parameters: tuple[str, ...]
    rows: tuple[RankedRun, ...]

    @property
    def best(self) -> RankedRun:
        """Return the best run.

        Raises:
            UserError: No run is complete.
        """
        if not self.rows or self.rows[0].rank is None:
            raise UserError("no run is complete, so there is no best one; `status` shows their states")
        return self.rows[0]

    @property
    def short_parameters(self) -> list[str]:
        """Return the parameters' names, as short as possible but distinct."""
        return shorten_keys(self.parameters)


def rank(runs: Sequence[Run], by: str | None = None) -> Ranking:
    """Order runs from best to worst.

    Args:
        runs: To compare.
        by: Metric as `name:min` or `name:max`, whose last value counts; None: what the runs monitored.

    Raises:
        UserError: Nothing was monitored, or `by` is no such metric.
    """
    objectives = _objectives(runs) if by is None else (_monitor(by, runs),)
    parameters = find_varied_keys(runs)
    values = {run.name: _values(run, objectives, given=by is not None) for run in runs}
    done = [run for run in runs if run.status == "completed" and None not in values[run.name]]
    front = {
        run.name for run in done if not any(_dominates(values[o.name], values[run.name], objectives) for o in done)
    }

    def place(run: Run) -> tuple[Any, ...]:
        first = values[run.name][0] if objectives else None
        sign = 1 if objectives and objectives[0].mode == "min" else -1
        return (
            run not in done,
            len(objectives) > 1 and run.name not in front,
            math.inf if first is None else sign * first,
        )

    rows = []
    for number, run in enumerate(sorted(runs, key=place), 1):
        chosen = {key: get_parameter(run, key) for key in parameters}
        rows.append(RankedRun(run, number if run in done else None, values[run.name], run.name in front, chosen))
    return Ranking(objectives, parameters, tuple(rows))


def find_varied_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the keys in which runs differ: those a sweep varied, and overrides that not all runs share."""
    swept = {key: None for run in runs if run.record for key in run.record.swept}
    overrides: Counter[str] = Counter(o for run in runs if run.record for o in run.record.overrides)
    recorded = sum(run.record is not None for run in runs)
    differing = {_key(o): None for o, count in overrides.items() if count < recorded}
    return tuple(key for key in {**swept, **differing} if not _NOT_COMPARED.match(key))


def get_parameter(run: Run, key: str) -> Any:
    """Return a run's value of a key.

    Args:
        run: The run.
        key: Dotted key, or a config group.

    Returns:
        The swept value or the setting; of a config group the chosen option.
    """
    if run.record is None:
        return None
    if key in run.record.swept:
        return run.record.swept[key]
    if key in run.settings:
        return run.settings[key]
    given = [override for override in run.record.overrides if _key(override) == key]
    return given[-1].partition("=")[2] if given else DEFAULT


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _objectives(runs: Sequence[Run]) -> tuple[Monitor, ...]:
    """Return what most runs were judged by."""
    counts = Counter(tuple((m.name, m.mode) for m in run.record.objectives) for run in runs if run.record)
    counts.pop((), None)
    if not counts:
        raise UserError("these runs monitored no metric; choose one to compare them by: by=<metric>:min")
    return tuple(Monitor(name=name, mode=mode) for name, mode in counts.most_common(1)[0][0])


def _monitor(by: str, runs: Sequence[Run]) -> Monitor:
    name, _, mode = by.rpartition(":")
    if mode not in ("min", "max"):
        raise UserError(f"by={by}: add the direction: {by}:min or {by}:max")
    known = sorted({key for run in runs if run.record for key in run.record.metrics.last})
    if name not in known:
        raise UserError(f"by={by}: no run recorded {name}; choose one of {', '.join(known) or 'none'}")
    return Monitor(name=name, mode="min" if mode == "min" else "max")


def _values(run: Run, objectives: Sequence[Monitor], given: bool) -> tuple[float | None, ...]:
    if run.record is None:
        return tuple(None for _ in objectives)
    record = run.record
    same = not given and [m.name for m in record.objectives] == [m.name for m in objectives]
    if same and record.objective is not None:
        values = record.objective if isinstance(record.objective, list) else [record.objective]
        return tuple(None if math.isnan(value) else value for value in values)
    finished = record.status == "completed" or given
    last = [
        record.metrics.last.get(m.name)
        if finished or m.name not in record.metrics.best
        else record.metrics.best[m.name].value
        for m in objectives
    ]
    return tuple(None if value is None or math.isnan(value) else value for value in last)


def _dominates(a: Sequence[float | None], b: Sequence[float | None], objectives: Sequence[Monitor]) -> bool:
    signs = [1 if m.mode == "min" else -1 for m in objectives]
    pairs = [(s * (x or 0.0), s * (y or 0.0)) for s, x, y in zip(signs, a, b, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
