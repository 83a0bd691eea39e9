"""Parameter importance of a sweep."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from facesmith.sweep.ranking import Ranking
from facesmith.sweep.study import JOURNAL, SQLITE, open_study

_MIN_RUNS: Final = 4  # completed ones
_LOG_RATIO: Final = 10  # of greatest to least, from which on a scale is logarithmic


class Importance(NamedTuple):
    """Importance of each parameter."""

    shares: dict[str, float]
    """By parameter, greatest first, adding up to 1; empty when there are none."""
    source: str
    """What it was measured from, in words."""
    why: str
    """Why there are none; empty when there are."""


def measure_importance(ranking: Ranking, folder: Path) -> Importance:
    """Measure how much each parameter decided, by Optuna's PED-ANOVA.

    Args:
        ranking: Of the runs.
        folder: With a sweep's study, which is then used; otherwise the runs' records are.
    """
    has_study = (folder / JOURNAL).is_file() or (folder / SQLITE).is_file()
    study = open_study(folder) if has_study else _from_records(ranking)
    source = "the sweep's study" if has_study else "the runs' records"
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < _MIN_RUNS:
        return Importance({}, source, f"{len(done)} runs are complete; it takes {_MIN_RUNS}")
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
            return FloatDistribution(low, high, log=low > 0 and high / low >= _LOG_RATIO)
    return CategoricalDistribution(list(dict.fromkeys(str(value) for value in values)) or [""])


def _plain(value: Any, kind: BaseDistribution) -> Any:
    return float(value) if isinstance(kind, FloatDistribution) else str(value)
