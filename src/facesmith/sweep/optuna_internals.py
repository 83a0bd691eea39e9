"""Every private name of Optuna that facesmith uses; `tests/sweep/test_optuna_internals.py` names what broke.

Optuna's trials belong to the process that asked for them. Here a trial is asked for by the sweep and run by a job in
another process, maybe twice, so that it has to be found again by its number. pyproject.toml bounds the version for this
file's sake.
"""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from optuna import Study
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, Trial


def get_trial(study: Study, number: int) -> FrozenTrial:
    """Return a trial as it is now.

    Args:
        study: Of the sweep.
        number: Of the trial, from 0.
    """
    return study.get_trials(deepcopy=False)[number]


def reopen_trial(study: Study, number: int) -> Trial:
    """Return a trial that another process created, to sample its values and report to it.

    Args:
        study: The study of the sweep.
        number: Number of the trial, from 0.
    """
    return Trial(study, get_trial(study, number)._trial_id)


def set_trial_attribute(study: Study, number: int, key: str, value: object) -> None:
    """Set a user attribute of a trial by its number.

    Args:
        study: Of the sweep.
        number: Of the trial.
        key: Of the attribute.
        value: What JSON can hold.
    """
    study._storage.set_trial_user_attr(get_trial(study, number)._trial_id, key, value)


def make_reporter(trial: Trial) -> Callable[[float, int], bool]:
    """Return a function that reports a value at an epoch, once, and returns whether the trial should be pruned.

    A job that is run again reports its first epochs a second time, which Optuna would warn of.
    """

    def report(value: float, epoch: int) -> bool:
        if epoch not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(value, epoch)
        return trial.should_prune()

    return report


class ProcessLock(BaseJournalFileLock):
    """A lock on the journal that the system releases when its process dies; Optuna's own would wait half a minute.

    Args:
        path: Of the lock file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()
