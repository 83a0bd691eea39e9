"""Exponential moving average of the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from typing_extensions import override


class AverageWeights(WeightAveraging):
    """Keep a moving average of the weights; validate, render, export and save that average.

    Lightning's own callback does the bookkeeping and lays out checkpoints (`state_dict` holds the average,
    `current_model_state` the weights training goes on with). Three things differ. The average starts from the weights
    as they are when training starts, on their device. It is updated by one fused call instead of three operations a
    tensor. And it is in place during the whole of validation, so that every hook in between sees it. Batch statistics
    are averaged like weights.

    `decay` is the share of the old average that each step keeps; during the first steps it is lower, (1+n)/(10+n), so
    that a short run is not dragged back to its start.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=_lerp(decay), use_buffers=True)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        average = self._average_model
        assert average is not None
        if trainer.ckpt_path:
            average.to(pl_module.device)
        else:
            super().setup(trainer, pl_module, "fit")

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the swap to `on_validation_start`."""

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the swap to `on_validation_end`."""

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)


def _lerp(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Any]:
    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor) -> None:
        taken = int(steps)
        weight = 1 - min(decay, (1 + taken) / (10 + taken))
        if average[0].is_floating_point():
            torch._foreach_lerp_(list(average), list(current), weight)
        else:
            for mean, now in zip(average, current, strict=True):
                mean.copy_(now)

    return update
