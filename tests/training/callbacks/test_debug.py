"""What the debug configs add: repeated batches are memorised or not, and a step's time is charged to its parts."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from facesmith.errors import UserError
from facesmith.training.callbacks.overfit import RepeatBatches
from facesmith.training.callbacks.step_profile import ProfileSteps

from ...quiet_trainer import quiet_trainer


class Noise(Dataset[dict[str, Tensor]]):
    """Never the same item twice; `seconds` to make one."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        time.sleep(self.seconds)
        return {"x": torch.randn(8), "y": torch.randn(1)}


class Memory(LightningModule):
    """Wide enough to know a few points by heart; `seconds` longer in its step."""

    def __init__(self, lr: float, seconds: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 128), nn.Tanh(), nn.Linear(128, 1))
        self.lr, self.seconds = lr, seconds

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.seconds)
        loss = (self.net(batch["x"]) - batch["y"]).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def fit(module: LightningModule, data: Dataset[Any], callback: Any, folder: Path, **arguments: Any) -> None:
    trainer = quiet_trainer(
        callbacks=[callback],
        default_root_dir=folder,
        **arguments,
    )
    trainer.fit(module, DataLoader(data, batch_size=4))


def test_repeat_batches_network_that_learns_memorises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    callback = RepeatBatches(max_loss_ratio=0.1)
    fit(Memory(lr=1e-2), Noise(), callback, tmp_path, max_epochs=60, limit_train_batches=2)
    assert callback.memorised
    assert "overfit: memorised 2 batches" in capsys.readouterr().out


def test_repeat_batches_network_that_cannot_learn_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    callback = RepeatBatches(max_loss_ratio=0.1)
    fit(Memory(lr=1e-6), Noise(), callback, tmp_path, max_epochs=3, limit_train_batches=2)
    assert not callback.memorised
    assert "NOT memorised" in callback.describe()


def test_profile_steps_charges_time_to_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = ProfileSteps(tmp_path, warm_up=3, operators=3)
    fit(Memory(lr=1e-2, seconds=0.08), Noise(seconds=0.002), callback, tmp_path, max_epochs=1)
    record = json.loads((tmp_path / "step_profile.json").read_text())
    spent = record["seconds"]
    assert record["steps"] == 13
    assert max(spent, key=spent.__getitem__) == "forward and loss"
    assert spent["forward and loss"] > 13 * 0.08
    assert spent["waiting for data"] > 12 * 4 * 0.002
    assert {"backward", "optimiser", "callback ProfileSteps"} <= spent.keys()
    printed = capsys.readouterr().out
    assert "forward and loss" in printed
    assert "aten::" in printed
    assert "Optimizer.step" not in printed


def test_profile_steps_too_few_steps_is_refused(tmp_path: Path) -> None:
    callback = ProfileSteps(tmp_path, warm_up=30, operators=0)
    with pytest.raises(UserError, match=r"warm_up=30: the run had 2 steps"):
        fit(Memory(lr=1e-2), Noise(), callback, tmp_path, max_epochs=1, limit_train_batches=2)
