"""How much each parameter mattered, by Optuna's measure (PED-ANOVA)."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import get_param_importances
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from facesmith.sweep.ranking import Ranking
from facesmith.sweep.study import JOURNAL, SQLITE, open_study

_FEWEST = 4  # completed runs that a measure can be taken of
_WIDE = 10  # a ratio of greatest to least from which on a scale is logarithmic


class Importance(NamedTuple):
    """Shares by parameter, greatest first, that add up to 1; empty when `why` says why there are none."""

    shares: dict[str, float]
    source: str
    why: str


def importance(ranking: Ranking, folder: Path) -> Importance:
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
