"""The estimate comes once, counts what is left, and is set beside what it took."""

import logging
import random
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, LightningModule, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader

from facesmith.training.callbacks.estimate import EstimateDuration
from facesmith.training.callbacks.progress import TrainingProgress
from facesmith.training.durations import recall_duration

from ...quiet_trainer import quiet_trainer


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Drawing(Line):
    """Draws in every step, and counts steps in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)).train()
        self.register_buffer("steps", torch.zeros(()))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.get_buffer("steps").add_(1)
        noisy = batch.repeat(4, 1) + torch.randn(4, 4) * float(np.random.rand()) * random.random()
        loss = super().training_step(noisy, batch_idx)
        self.log("train/loss", loss.detach())
        return loss


def fit(epochs: int, *callbacks: Any, **more: Any) -> None:
    data = DataLoader(torch.randn(20, 4), batch_size=1)
    settings = {"num_sanity_val_steps": 1, **more}
    quiet_trainer(max_epochs=epochs, callbacks=list(callbacks), **settings).fit(Line(), data, data)


@pytest.mark.parametrize("checked", [0, 1])
def test_estimate_is_logged_once_with_steps_validations_and_memory(
    caplog: pytest.LogCaptureFixture, checked: int
) -> None:
    caplog.set_level(logging.INFO, logger="facesmith")
    estimate = EstimateDuration()
    fit(4, estimate, check_val_every_n_epoch=3, num_sanity_val_steps=checked)
    about = [record.message for record in caplog.records if "to go" in record.message]
    assert len(about) == 1
    assert "80 steps of " in about[0]
    assert "2 validations of" in about[0]
    assert "GB" in about[0]
    assert estimate.estimate is not None
    (took,) = [record.message for record in caplog.records if record.message.startswith("took ")]
    assert took.count("expected: ") == 2
    messages = [record.message for record in caplog.records]
    assert messages.index(about[0]) < messages.index(took)


def test_estimate_of_the_next_training_knows_what_validations_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="facesmith")
    first = EstimateDuration()
    fit(3, first, check_val_every_n_epoch=1)
    known = recall_duration("validation of Line of 5 parameters, 20 batches, cpu")
    assert known is not None
    assert recall_duration("exports of Line of 5 parameters") is not None
    assert recall_duration("exports of Line of 6 parameters") is None


def test_estimate_counts_what_measures_the_validation(caplog: pytest.LogCaptureFixture) -> None:
    class Measured(LightningDataModule):
        def train_dataloader(self) -> Any:
            return DataLoader(torch.randn(21, 4), batch_size=1)

        val_dataloader = train_dataloader

        def time_evaluation(self) -> tuple[float, float]:
            random.random()
            return 100.0, 50.0

    caplog.set_level(logging.INFO, logger="facesmith")
    estimate = EstimateDuration()
    trainer = quiet_trainer(max_epochs=3, callbacks=[estimate], num_sanity_val_steps=0, check_val_every_n_epoch=1)
    trainer.fit(Line(), Measured())
    assert estimate.estimate is not None
    assert 350 <= estimate.estimate.seconds < 360
    assert "3 validations of 1 min 40 s, the first 50 s more" in caplog.text


def test_estimate_changes_nothing_of_the_training() -> None:
    """Weights, statistics, dropout and the order of the data are those of a training without it."""
    ends = []
    for callbacks in ([], [EstimateDuration()]):
        seed_everything(3, verbose=False)
        module = Drawing()
        data = DataLoader(torch.randn(40, 4), batch_size=1, shuffle=True)
        quiet_trainer(max_epochs=1, callbacks=callbacks, limit_val_batches=0).fit(module, data)
        ends.append((module.state_dict(), torch.rand(1), float(np.random.rand()), random.random()))
    (weights, *drawn), (weights_too, *drawn_too) = ends
    assert drawn == drawn_too
    for name, value in weights.items():
        assert torch.equal(value, weights_too[name]), name


def test_estimate_of_a_training_of_few_steps_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="facesmith")
    fit(1, EstimateDuration())
    assert not any(record.name.startswith("facesmith") for record in caplog.records)


def test_progress_without_a_terminal_logs_a_line_at_times(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="facesmith")
    monkeypatch.setattr("facesmith.training.callbacks.progress._SECONDS_BETWEEN_LINES", 0.0)
    fit(2, TrainingProgress(refresh_rate=1, leave=False), enable_progress_bar=True)
    lines = [record.message for record in caplog.records]
    assert any(line.startswith("epoch 2/2, step 40 of 40") for line in lines)
