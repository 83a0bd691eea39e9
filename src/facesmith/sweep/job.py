"""One job of a sweep, in whichever process: it runs once, and the study learns how it ended."""

import gc
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from facesmith.errors import PrunedError, UserError
from facesmith.sweep.config import PrunerConfig
from facesmith.sweep.optuna_internals import get_trial, make_reporter, reopen_trial, set_trial_attribute
from facesmith.sweep.study import open_study
from facesmith.training.run.naming import shorten_overrides
from facesmith.training.run.record import RECORD_FILE, RunRecord, mark_killed, read_record, record_run
from facesmith.training.run.trial import CurrentTrial, set_current_trial

LOCK: Final = ".job.lock"
POINT: Final = "point"
OUTCOME: Final = "outcome"
VALUES: Final = "values"
ERROR: Final = "error"
ATTEMPTS: Final = "begun"  # how often it was started

_LOCK_SECONDS: Final = 5  # a sweep that looks whether a job runs holds its lock for an instant

log = logging.getLogger(__name__)


class JobFailedError(Exception):
    """A job's error as one line that any process can read; the whole of it is in the job's record."""


class JobPostponedError(Exception):
    """A job that did not run: another process runs it, or too many failed."""


@dataclass(frozen=True)
class TrackedJob:
    """Wraps the task for the launcher: records the job in the study.

    Args:
        task: Returns a number, several, or None.
        sweep: Folder of the sweep, absolute.
        pruner: Settings of the pruner.
        failures_allowed: In the whole sweep; no job starts after so many.
    """

    task: TaskFunction
    sweep: Path
    pruner: PrunerConfig
    failures_allowed: int | None

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the job whose folder Hydra chose, unless it is done already.

        Raises:
            JobFailedError: The task failed; the study and the job's record hold why.
            JobPostponedError: The job was not run.
        """
        folder = Path(HydraConfig.get().runtime.output_dir)
        number = int(folder.name)
        try:
            with FileLock(folder / LOCK, timeout=_LOCK_SECONDS):
                study = open_study(self.sweep, self.pruner)
                trial = get_trial(study, number)
                if trial.state.is_finished():
                    return trial.values
                if self.failures_allowed is not None and count_failures(study) >= self.failures_allowed:
                    raise JobPostponedError(f"#{number}: not started, too many jobs have failed")
                values, why = self._run(cfg, study, trial, folder)
        except Timeout:
            raise JobPostponedError(f"#{number}: another process runs it") from None
        if why is not None:  # raised here, where the task's own error and all it holds are let go
            _free_memory()
            raise JobFailedError(why)
        return values

    def _run(
        self, cfg: DictConfig, study: optuna.Study, trial: FrozenTrial, folder: Path
    ) -> tuple[list[float] | None, str | None]:
        """Run the task; return its values, and why it failed if it did."""
        point = trial.user_attrs[POINT]
        prunes = self.pruner.name != "none" and len(study.directions) == 1
        report = make_reporter(reopen_trial(study, trial.number)) if prunes else None
        title = f"#{trial.number} {format_point(point)}"
        log.info(title)
        set_trial_attribute(study, trial.number, ATTEMPTS, trial.user_attrs.get(ATTEMPTS, 0) + 1)
        began = time.monotonic()
        values, why = None, None
        try:
            with set_current_trial(CurrentTrial(trial.number, point, report)):
                values = _numbers(self.task(cfg))
        except PrunedError as error:
            finish_trial(study, trial.number, "pruned")
            line = f"pruned {error}"
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            _record_failure(folder, error, to_plain_values(cfg), point)
            finish_trial(study, trial.number, "failed", error=why)
            line = f"failed, {why}"
        else:
            finish_trial(study, trial.number, "completed", values)
            line = "completed" if values is None else ", ".join(f"{one:.4g}" for one in values)
        log.info("%s: %s (%.0f s)", title, line, time.monotonic() - began)
        return values, why


def format_point(point: Mapping[str, Any]) -> str:
    """Return a point as short overrides.

    Args:
        point: Values by swept key.
    """
    return " ".join(shorten_overrides([f"{key}={value}" for key, value in point.items()]))


def count_failures(study: optuna.Study) -> int:
    """Count the jobs that failed."""
    return sum(trial.user_attrs.get(OUTCOME) == "failed" for trial in study.get_trials(deepcopy=False))


def finish_trial(
    study: optuna.Study, number: int, outcome: str, values: Sequence[float] | None = None, error: str | None = None
) -> None:
    """Record how a trial ended.

    A completed job without a value for each objective is a failure to Optuna, which learns nothing from it, but not
    in facesmith's tables.

    Args:
        study: Of the sweep.
        number: Of the trial.
        outcome: `completed`, `pruned` or `failed`.
        values: One per objective.
        error: Why it failed, in one line.
    """
    set_trial_attribute(study, number, VALUES, None if values is None else list(values))
    set_trial_attribute(study, number, ERROR, error)
    set_trial_attribute(study, number, OUTCOME, outcome)
    is_valued = values is not None and len(values) == len(study.directions) and not any(map(math.isnan, values))
    if outcome == "pruned":
        study.tell(number, state=TrialState.PRUNED)
    elif outcome == "completed" and is_valued:
        study.tell(number, list(values or ()))
    else:
        study.tell(number, state=TrialState.FAIL)


def finish_repeated(study: optuna.Study, number: int, earlier: FrozenTrial) -> None:
    """Finish a trial whose point an earlier one had with that one's values; no job runs.

    Args:
        study: Of the sweep.
        number: Of the trial.
        earlier: With the same point.
    """
    set_trial_attribute(study, number, OUTCOME, "repeated")
    if earlier.state is TrialState.COMPLETE:
        study.tell(number, earlier.values)
    else:
        study.tell(number, state=TrialState.FAIL)


def finish_killed(
    study: optuna.Study,
    number: int,
    folder: Path,
    why: str,
    trace: str | None,
    config: Mapping[str, Any],
    overrides: Sequence[str],
) -> None:
    """Record for a job whose process died that it was killed, in its record and in the study.

    Args:
        study: Of the sweep.
        number: Of the trial.
        folder: Of the job.
        why: What is known, in one line.
        trace: Traceback of the process that noticed.
        config: The job's, as plain values.
        overrides: Of the job.
    """
    if not (folder / RECORD_FILE).is_file():
        _record_failure(folder, JobFailedError(why), config, get_trial(study, number).user_attrs[POINT], overrides)
    mark_killed(folder, why, trace)
    finish_trial(study, number, "failed", error=f"killed: {why}")
    log.error("#%d killed: %s", number, why)


def finish_invalid(study: optuna.Study, number: int, folder: Path, error: Exception, overrides: Sequence[str]) -> None:
    """Record that a job's config could not be composed.

    Args:
        study: Of the sweep.
        number: Of the trial.
        folder: Of the job.
        error: What is wrong.
        overrides: Of the job.
    """
    why = " ".join(f"{type(error).__name__}: {error}".split())
    _record_failure(folder, error, {}, get_trial(study, number).user_attrs[POINT], overrides)
    finish_trial(study, number, "failed", error=why)
    log.error("#%d failed, %s", number, why)


def finish_from_record(study: optuna.Study, number: int, folder: Path) -> bool:
    """Finish the trial of a job that ended, where its process died before it could report.

    Args:
        study: Of the sweep.
        number: Of the trial.
        folder: Of the job.

    Returns:
        Whether the job had ended.
    """
    attributes = get_trial(study, number).user_attrs
    if OUTCOME in attributes:
        finish_trial(study, number, attributes[OUTCOME], attributes.get(VALUES), attributes.get(ERROR))
        return True
    if not (folder / RECORD_FILE).is_file():
        return False
    record: RunRecord = read_record(folder)
    if record.status in ("completed", "pruned"):
        finish_trial(study, number, record.status, _numbers(record.objective))
        return True
    if record.status == "failed":
        why = record.error
        finish_trial(study, number, "failed", error=None if why is None else f"{why.kind}: {why.message}")
        return True
    return False


def _numbers(value: Any) -> list[float] | None:
    if value is None:
        return None
    several = isinstance(value, Sequence) and not isinstance(value, str)
    try:
        return [float(one) for one in (value if several else [value])]
    except (TypeError, ValueError):
        raise UserError(f"a sweep's job must return a number, several or None, not {value!r}") from None


def to_plain_values(cfg: DictConfig) -> dict[str, Any]:
    """Return a config's values as they were written, without Hydra's own."""
    container = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "hydra"}


def _record_failure(
    folder: Path,
    error: Exception,
    config: Mapping[str, Any],
    point: Mapping[str, Any],
    overrides: Sequence[str] | None = None,
) -> None:
    """Record why the job failed, also when it failed before it had a record."""
    if (folder / RECORD_FILE).is_file() and read_record(folder).status == "failed":
        return
    experiment = config.get("experiment_name")
    try:
        with record_run(
            folder, experiment=experiment, name=folder.name, settings=config, swept_values=point, overrides=overrides
        ):
            raise error
    except type(error):
        return


def _free_memory() -> None:
    """Free the memory of a failed job, so that the next one does not run out of it too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
