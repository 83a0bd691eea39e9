"""Which run is best, by what, and what the runs differ in."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from facesmith.errors import UserError
from facesmith.sweep.runs import Run
from facesmith.sweep.study import JOURNAL, SQLITE, open_study
from facesmith.training.run.naming import shorten_keys
from facesmith.training.run.record import Monitor

DEFAULT: Final = "default"
_NOT_TOLD: Final = re.compile(
    r"(resume|busy|name|tags|hydra)($|\.)|(paths|logger|logging|assets|provenance)[./]|logger$"
)


@dataclass(frozen=True)
class RankedRun:
    """One run in its place.

    rank: from 1, among completed runs; None for the others. values: one an objective, None where there is none; of a
    run that is not complete the best so far. pareto: no completed run is better in one objective and as good in all.
    parameters: by key, what the runs differ in.
    """

    run: Run
    rank: int | None
    values: tuple[float | None, ...]
    pareto: bool
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Ranking:
    """Runs from best to worst, those that are not complete behind.

    With several objectives those of the Pareto front come first, and each part goes by the first objective.
    """

    objectives: tuple[Monitor, ...]
    parameters: tuple[str, ...]
    rows: tuple[RankedRun, ...]

    @property
    def best(self) -> RankedRun:
        """Return the winner.

        Raises:
            UserError: no run is complete.
        """
        if not self.rows or self.rows[0].rank is None:
            raise UserError("no run is complete, so that none is best; `status` says how they stand")
        return self.rows[0]

    @property
    def short_parameters(self) -> list[str]:
        """Return the parameters' names as short as tells them apart."""
        return shorten_keys(self.parameters)


def rank(runs: Sequence[Run], by: str | None = None) -> Ranking:
    """Order runs by what they were monitored for, or by the last value of the metric `by` (`name:min` or `name:max`).

    Raises:
        UserError: nothing was monitored, or `by` is no such metric.
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
        told = {key: get_parameter(run, key) for key in parameters}
        rows.append(RankedRun(run, number if run in done else None, values[run.name], run.name in front, told))
    return Ranking(objectives, parameters, tuple(rows))


def find_varied_keys(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the keys that were set to differ: what a sweep varied, and overrides that not all runs share."""
    swept = {key: None for run in runs if run.record for key in run.record.swept}
    told: Counter[str] = Counter(o for run in runs if run.record for o in run.record.overrides)
    recorded = sum(run.record is not None for run in runs)
    differing = {_key(o): None for o, count in told.items() if count < recorded}
    return tuple(key for key in {**swept, **differing} if not _NOT_TOLD.match(key))


def get_parameter(run: Run, key: str) -> Any:
    """Return a run's value of a key: swept, or in its settings; of a config group what it was told."""
    if run.record is None:
        return None
    if key in run.record.swept:
        return run.record.swept[key]
    if key in run.settings:
        return run.settings[key]
    told = [override for override in run.record.overrides if _key(override) == key]
    return told[-1].partition("=")[2] if told else DEFAULT


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _objectives(runs: Sequence[Run]) -> tuple[Monitor, ...]:
    """Return what most runs were judged by."""
    told = Counter(tuple((m.name, m.mode) for m in run.record.objectives) for run in runs if run.record)
    told.pop((), None)
    if not told:
        raise UserError("nothing was monitored in these runs; say by what they are compared: by=<metric>:min")
    return tuple(Monitor(name=name, mode=mode) for name, mode in told.most_common(1)[0][0])


def _monitor(by: str, runs: Sequence[Run]) -> Monitor:
    name, _, mode = by.rpartition(":")
    if mode not in ("min", "max"):
        raise UserError(f"by={by}: say which way it is good: {by}:min or {by}:max")
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
        told = record.objective if isinstance(record.objective, list) else [record.objective]
        return tuple(None if math.isnan(value) else value for value in told)
    finished = record.status == "completed" or given
    values = [
        record.metrics.last.get(m.name)
        if finished or m.name not in record.metrics.best
        else record.metrics.best[m.name].value
        for m in objectives
    ]
    return tuple(None if value is None or math.isnan(value) else value for value in values)


def _dominates(a: Sequence[float | None], b: Sequence[float | None], objectives: Sequence[Monitor]) -> bool:
    signs = [1 if m.mode == "min" else -1 for m in objectives]
    pairs = [(s * (x or 0.0), s * (y or 0.0)) for s, x, y in zip(signs, a, b, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


_FEWEST = 4  # completed runs that a measure can be taken of
_WIDE = 10  # a ratio of greatest to least from which on a scale is logarithmic


class Importance(NamedTuple):
    """Shares by parameter, greatest first, that add up to 1; empty when `why` says why there are none."""

    shares: dict[str, float]
    source: str
    why: str


def measure_importance(ranking: Ranking, folder: Path) -> Importance:
    """Measure the parameters of the sweep in `folder` from its study, or of any runs from their records."""
    has_study = (folder / JOURNAL).is_file() or (folder / SQLITE).is_file()
    study = open_study(folder) if has_study else _from_records(ranking)
    source = "the sweep's study" if has_study else "the runs' records"
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < _FEWEST:
        return Importance({}, source, f"{len(done)} runs are complete; it takes {_FEWEST}")
    if not any(len({repr(trial.params.get(key)) for trial in done}) > 1 for key in done[0].params):
        return Importance({}, source, "the runs do not differ in a parameter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an experimental feature, and few trials, are no news
        try:
            shares = get_param_importances(study)
        except (RuntimeError, ValueError) as error:
            return Importance({}, source, " ".join(str(error).split()))
    return Importance({key: value for key, value in shares.items() if math.isfinite(value)}, source, "")


def _from_records(ranking: Ranking) -> optuna.Study:
    rows = [row for row in ranking.rows if row.rank is not None]
    directions = [StudyDirection.MINIMIZE if m.mode == "min" else StudyDirection.MAXIMIZE for m in ranking.objectives]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions)
    kinds = {key: _distribution([row.parameters[key] for row in rows]) for key in ranking.parameters}
    for row in rows:
        params = {k: _plain(row.parameters[k], kind) for k, kind in kinds.items()}
        study.add_trial(create_trial(params=params, distributions=kinds, values=list(row.values)))  # type: ignore[arg-type]
    return study


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        if low < high:
            return FloatDistribution(low, high, log=low > 0 and high / low >= _WIDE)
    return CategoricalDistribution(list(dict.fromkeys(str(value) for value in values)) or [""])


def _plain(value: Any, kind: BaseDistribution) -> Any:
    return float(value) if isinstance(kind, FloatDistribution) else str(value)
