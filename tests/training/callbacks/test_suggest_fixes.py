"""Advice comes from what was measured: time of a step, share of it spent waiting, the module's own figures."""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from facesmith.training.callbacks.suggest_fixes import SuggestFixes

from ...quiet_trainer import quiet_trainer


class Slow(IterableDataset[Tensor]):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(48):
            time.sleep(self.seconds)
            yield torch.ones(2, 3)

    def __len__(self) -> int:
        return 48


class Net(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.line(batch).square().mean()
        self.log("val/sharpness", 0.2, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)

    def suggest_fixes(self, figures: Mapping[str, float]) -> list[str]:
        return [f"blurry: val/sharpness {figures['val/sharpness']:.1f}", "b", "c", "d"]


def run(seconds: float, max_cpu_hours: float = 2.0, max_wait_share: float = 0.3) -> None:
    trainer = quiet_trainer(
        max_epochs=1,
        callbacks=[SuggestFixes(max_wait_share=max_wait_share, max_cpu_hours=max_cpu_hours)],
    )
    trainer.fit(Net(), DataLoader(Slow(seconds), batch_size=None))


def test_suggest_fixes_slow_data_names_share(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(0.05)
    lines = [record.message for record in caplog.records if "slow data" in record.message]
    (line,) = lines
    assert "waiting for the next batch (limit 30%); set data.workers higher" in line
    assert 30 < int(line.split("slow data: ")[1].split("%")[0]) <= 100


def test_suggest_fixes_slow_cpu_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(0.0, max_cpu_hours=1e-6)
    assert re.search(r"advice: slow on the CPU: a step takes \d+\.\d", caplog.text)
    assert "trainer=gpu_16gb" in caplog.text


def test_suggest_fixes_module_lines_three_at_most(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(0.0, max_wait_share=0.999)
    messages = [
        record.message for record in caplog.records if record.name == "facesmith.training.callbacks.suggest_fixes"
    ]
    assert messages == ["advice: blurry: val/sharpness 0.2", "advice: b", "advice: c"]
