"""Optuna's private names are there: a failure names what is gone and what it breaks."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from facesmith.sweep.optuna_internals import (
    ProcessLock,
    get_trial,
    make_reporter,
    reopen_trial,
    set_trial_attribute,
)


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=1.0))
    study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    return study


def test_study_and_trial_have_the_private_names(study: optuna.Study) -> None:
    assert hasattr(study, "_storage"), "attributes of a trial that another process asked for"
    assert hasattr(study.trials[0], "_trial_id"), "finding a trial by its number"


def test_attribute_set_by_number_is_read_again(study: optuna.Study) -> None:
    set_trial_attribute(study, 0, "outcome", "completed")
    assert get_trial(study, 0).user_attrs == {"outcome": "completed"}


def test_reopened_trial_draws_the_same_value_and_takes_reports(study: optuna.Study) -> None:
    trial = reopen_trial(study, 0)
    assert trial.suggest_float("x", 0, 1) == get_trial(study, 0).params["x"]
    report = make_reporter(trial)
    assert not report(0.5, 1)
    assert not report(0.7, 1), "the first report of an epoch counts"
    assert report(2.0, 2)
    assert get_trial(study, 0).intermediate_values == {1: 0.5, 2: 2.0}
    assert get_trial(study, 0).state is TrialState.RUNNING


def test_process_lock_is_a_lock_of_the_journal(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"), lock)
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend))
    study.ask()
    assert len(study.trials) == 1
