"""A real fit under a real study: hopeless jobs end at a validation, others and runs of their own do not."""

import lightning
import optuna
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from facesmith.errors import PrunedError
from facesmith.sweep.optuna_internals import make_reporter
from facesmith.training.callbacks.prune import PruneTrial
from facesmith.training.run.trial import CurrentTrial, set_current_trial

from ...quiet_trainer import quiet_trainer


class Falling(lightning.LightningModule):
    """Logs `val/error` = `floor` + 1 / epochs."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.weight, self.floor = torch.nn.Parameter(torch.zeros(1)), floor

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return (self.weight * batch[0]).sum()

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("val/error", self.floor + 1 / (self.current_epoch + 1))


def fit(floor: float, epochs: int = 4) -> int:
    """Train, and give how many epochs were validated."""
    data = DataLoader(TensorDataset(torch.ones(2, 1)))
    trainer = quiet_trainer(
        max_epochs=epochs,
        callbacks=[PruneTrial("val/error")],
        num_sanity_val_steps=1,
    )
    trainer.fit(Falling(floor), data, data)
    return trainer.current_epoch


@pytest.fixture
def study() -> optuna.Study:
    """Return a study in which a job with floor 0 has ended."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    trial = study.ask()
    with set_current_trial(CurrentTrial(0, {}, make_reporter(trial))):
        assert fit(0.0) == 4
    study.tell(trial, 0.25)
    return study


def test_prune_trial_reports_by_epoch(study: optuna.Study) -> None:
    assert study.trials[0].intermediate_values == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.25})


def test_prune_trial_ends_bad_job_only(study: optuna.Study) -> None:
    trial = study.ask()
    with (
        set_current_trial(CurrentTrial(1, {}, make_reporter(trial))),
        pytest.raises(PrunedError, match="after epoch 1: val/error 2"),
    ):
        fit(1.0)
    with set_current_trial(CurrentTrial(2, {}, make_reporter(study.ask()))):
        assert fit(-1.0) == 4


def test_prune_trial_last_epoch_or_no_sweep_does_nothing(study: optuna.Study) -> None:
    with set_current_trial(CurrentTrial(1, {}, make_reporter(study.ask()))):
        assert fit(1.0, epochs=1) == 1
    assert fit(1.0) == 4
