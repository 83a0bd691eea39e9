"""A training that draws at random wherever one can: in the network, in the batches, in validation."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from facesmith.config.settings import DataModuleConfig, ModuleConfig, PathSetting
from facesmith.training.loaders import ResumableLoader
from facesmith.training.schedule import WarmupCosine

ITEMS, BATCH = 44, 4


class TinyModuleConfig(ModuleConfig):
    width: int
    pause: float
    steps: PathSetting
    epochs: int
    accumulate: int

    def build(self, **more: Any) -> Any:
        return TinyModule(self)


class TinyDataModuleConfig(DataModuleConfig):
    workers: int

    def build(self, **more: Any) -> Any:
        return TinyDataModule(self)


class Shuffled:
    """Every item once an epoch, in an order of the epoch's own."""

    def __init__(self) -> None:
        self.epoch = self.first = 0

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        self.epoch, self.first = epoch, first_batch

    def __len__(self) -> int:
        return ITEMS // BATCH

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng(self.epoch).permutation(ITEMS).reshape(-1, BATCH)
        return iter(order[self.first :].tolist())


class TinyDataModule(lightning.LightningDataModule):
    def __init__(self, config: TinyDataModuleConfig) -> None:
        super().__init__()
        self.config = config
        points = torch.randn(ITEMS, 8, generator=torch.Generator().manual_seed(3))
        self.items = TensorDataset(points, points.sin().sum(1, keepdim=True))

    def train_dataloader(self) -> Any:
        workers = self.config.workers
        return ResumableLoader(self.items, Shuffled(), num_workers=workers, persistent_workers=workers > 0)

    def val_dataloader(self) -> Any:
        return DataLoader(self.items, batch_size=11, generator=torch.Generator())

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        points, wanted = batch
        noise = torch.randn_like(points) * 0.1 + random.random() * 0.1 + float(np.random.rand()) * 0.1
        return points + noise, wanted


class TinyModule(lightning.LightningModule):
    def __init__(self, config: TinyModuleConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        layers = [nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 1)]
        self.net = nn.Sequential(*layers)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        steps = self.config.epochs * -(-(ITEMS // BATCH) // self.config.accumulate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": WarmupCosine(optimizer, steps, 0.1, 0.01), "interval": "step"},
        }

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        points, wanted = batch
        loss = nn.functional.mse_loss(self.net(points), wanted)
        self.log("train/loss", loss.detach())
        self.log("train/mean_loss", loss.detach(), on_step=False, on_epoch=True)
        if batch_idx % 4 == 0:
            self.log("train/now_and_then", loss.detach() * 2)
        with Path(self.config.steps).open("a") as file:
            file.write(f"{self.trainer.fit_loop.total_batch_idx} {loss.item().hex()}\n")
        time.sleep(self.config.pause)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        points, wanted = batch
        self.log("val/loss", nn.functional.mse_loss(self.net(points + torch.randn_like(points) * 0.01), wanted))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["facesmith"] = {}
