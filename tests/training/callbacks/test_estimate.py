"""The estimate comes once, counts what is left, and is set beside what it took."""

import logging
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from facesmith.training.callbacks.estimate import EstimateDuration
from facesmith.training.callbacks.progress import TrainingProgress

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


def fit(epochs: int, *callbacks: Any, **more: Any) -> None:
    data = DataLoader(torch.randn(20, 4), batch_size=1)
    quiet_trainer(max_epochs=epochs, callbacks=list(callbacks), num_sanity_val_steps=1, **more).fit(Line(), data, data)


def test_estimate_is_logged_once_with_steps_validations_and_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="facesmith")
    estimate = EstimateDuration()
    fit(4, estimate, check_val_every_n_epoch=3)
    about = [record.message for record in caplog.records if "to go" in record.message]
    assert len(about) == 1
    assert "72 steps of 0.0" in about[0]
    assert "2 validations of" in about[0]
    assert "GB" in about[0]
    assert estimate.estimated is not None
    assert any(record.message.startswith("trained in ") for record in caplog.records)


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
