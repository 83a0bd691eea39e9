"""A learning rate that warms up and falls along a cosine, and bends without a jump when a training is extended."""

import math
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from facesmith.training.config import OptimizerConfig


class WarmupCosine(LRScheduler):
    """Linear warm-up, then half a cosine down to `final`; stepped once per optimiser step.

    A resumed training may be longer (or shorter) than the one that was saved. From the step it resumes at, the rate
    then moves linearly from where it was to the curve of the new length, over `warmup` of the remaining steps, and
    follows that curve to its end: no jump, and the same end as a training that was that long from its start.

    Args:
        optimizer: Whose learning rates are scheduled.
        steps: Optimiser steps of the whole training.
        warmup: Share of them that the warm-up takes, 0..1.
        final: Share of the full rate that is left at the last step, 0..1.
    """

    def __init__(self, optimizer: Optimizer, steps: int, warmup: float, final: float) -> None:
        self.steps, self.warmup, self.final = steps, warmup, final
        self.bend = 0
        """The step from which on this curve holds."""
        self.bend_factor: float | None = None
        """The factor there; None when it holds from the start."""
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Return the share of the full rate at an optimiser step, counted from 0.

        Args:
            step: Optimiser step, from 0.
        """
        curve = self._curve(step)
        glide = max(1, round(self.warmup * (self.steps - self.bend)))
        if self.bend_factor is None or step >= self.bend + glide:
            return curve
        return self.bend_factor + (curve - self.bend_factor) * (step - self.bend) / glide

    def get_lr(self) -> list[Any]:
        """Return the rates of the current step, one per parameter group."""
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the step, the length, and the bend: plain values."""
        kept = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "steps", "bend", "bend_factor")
        return {name: self.__dict__[name] for name in kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the schedule; change course here when the length has changed."""
        steps = self.steps
        self.__dict__.update(state_dict)
        if steps != self.steps:
            reached = self.factor(self.last_epoch)
            self.steps, self.bend, self.bend_factor = steps, self.last_epoch, reached

    def _curve(self, step: int) -> float:
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        done = min(1.0, (step - rising) / max(1, self.steps - rising))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


def with_warmup_cosine(optimizer: Optimizer, steps: int, config: OptimizerConfig) -> OptimizerLRScheduler:
    """Return what `configure_optimizers` returns: an optimiser with a `WarmupCosine`, stepped once an optimiser step.

    Args:
        optimizer: With its parameter groups.
        steps: Optimiser steps of the whole training.
        config: Says how long the warm-up is and what is left at the end.
    """
    schedule = WarmupCosine(optimizer, steps, config.warmup, config.final)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def count_optimizer_steps(trainer: Trainer, batches: int) -> int:
    """Return the number of optimiser steps of a whole training, at least 1.

    Lightning's own estimate (`trainer.estimated_stepping_batches`) rebuilds the loader and drops its position.

    Args:
        trainer: Gives epochs, accumulation and the limit of batches.
        batches: Batches per epoch that the loader has.
    """
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    return max(1, (trainer.max_epochs or 1) * math.ceil(batches / trainer.accumulate_grad_batches))
