"""The average follows its formula, batch statistics included, and is what validation sees."""

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from facesmith.training.callbacks.average import AverageWeights

from ...quiet_trainer import quiet_trainer


class Tiny(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.after_steps: list[dict[str, Tensor]] = []
        self.validated: dict[str, Tensor] = {}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()

    def on_train_batch_end(self, outputs: Any, batch: Tensor, batch_idx: int) -> None:
        self.after_steps.append(self._copy())

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated = self._copy()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.net.state_dict().items()}


def test_average_weights_follows_formula_and_is_validated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, data = Tiny(), torch.randn(20, 3)
    trainer = quiet_trainer(
        max_epochs=1,
        callbacks=[AverageWeights(decay=0.7)],
        num_sanity_val_steps=0,
    )
    start = module._copy()
    batches = torch.utils.data.DataLoader(data, batch_size=4)
    trainer.fit(module, batches, batches)
    assert len(module.after_steps) == 5
    for name, first in start.items():
        mean = first.clone()
        for taken, now in enumerate(step[name] for step in module.after_steps):
            weight = 1 - min(0.7, (1 + taken) / (10 + taken))
            mean = mean.lerp(now, weight) if mean.is_floating_point() else now
        torch.testing.assert_close(module.validated[name], mean, msg=name)
