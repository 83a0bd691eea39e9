"""Warnings with the key to change: when a run is slow, and when the final metrics show a bad result."""

import logging
import time
from datetime import timedelta
from statistics import median
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.training.callbacks.protocols import SuggestsFixes

log = logging.getLogger(__name__)

_WARM_UP: Final = 5  # steps; the first ones allocate and compile
_MEASURED: Final = 40  # steps
_MAX_SUGGESTIONS: Final = 3


class SuggestFixes(Callback):
    """Warn early on when the run is slow, and at the end of training about bad metrics.

    The module interprets its metrics (`SuggestsFixes`). Speed is the median of the first steps: the time of a step,
    and the share of it that was spent waiting for data.

    Args:
        max_wait_share: Share of a step (0..1) spent waiting for data, above which loading is called slow.
        max_cpu_hours: Hours of a training on a CPU, above which it is called slow.
    """

    def __init__(self, max_wait_share: float, max_cpu_hours: float) -> None:
        self.max_wait_share, self.max_cpu_hours = max_wait_share, max_cpu_hours
        self._waits: list[float] = []
        self._steps: list[float] = []
        self._step_end: float | None = None
        self._step_start = 0.0
        self._done = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measure how long the loop waited for the batch."""
        self._step_start = time.perf_counter()
        if self._step_end is not None and not self._done:
            self._waits.append(self._step_start - self._step_end)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Measure how long the step took, and warn once enough steps are measured."""
        if self._done:
            return
        self._step_end = time.perf_counter()
        self._steps.append(self._step_end - self._step_start)
        if len(self._steps) == _WARM_UP + _MEASURED:
            self._done = True
            for line in self.check_speed(trainer):
                _warn(trainer, line)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last step's end: what comes before the next epoch is no waiting for data."""
        self._step_end = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the final metrics show."""
        if isinstance(pl_module, SuggestsFixes):
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            for line in pl_module.suggest_fixes(metrics)[:_MAX_SUGGESTIONS]:
                _warn(trainer, line)

    def check_speed(self, trainer: Trainer) -> list[str]:
        """Return a line for each thing that makes the run slow, from the steps measured so far."""
        step, wait = median(self._steps[_WARM_UP:]), median(self._waits[_WARM_UP:] or [0.0])
        lines = []
        share = wait / (step + wait)
        if share > self.max_wait_share:
            lines.append(
                f"slow data: {share:.0%} of a step of {step + wait:.2f} s is waiting for the next batch (limit "
                f"{self.max_wait_share:.0%}); set data.workers higher"
            )
        seconds = (step + wait) * trainer.num_training_batches * (trainer.max_epochs or 1)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        if on_cpu and seconds > self.max_cpu_hours * 3600:
            lines.append(
                f"slow on the CPU: a step takes {step:.2f} s on {torch.get_num_threads()} threads, the whole training "
                f"{timedelta(seconds=round(seconds))} (limit {self.max_cpu_hours:g} h); use a GPU "
                "(trainer=gpu_16gb), a smaller network (of a swapper model/generator=mesh_warp or aad_fast, of an "
                "occluder model.encoder=timm-regnety_002) or a lower trainer.max_epochs"
            )
        return lines


def _warn(trainer: Trainer, line: str) -> None:
    if trainer.is_global_zero:
        log.warning("advice: %s", line)
