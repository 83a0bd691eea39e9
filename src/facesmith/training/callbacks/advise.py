"""What is wrong with a result or slow about a run, said where it happens with the key to change."""

import logging
import time
from datetime import timedelta
from statistics import median
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer

from facesmith.training.callbacks.protocols import Advises

log = logging.getLogger(__name__)

_WARM_UP: Final = 5  # steps; the first ones allocate and compile
_MEASURED: Final = 40
_SHOWN_AT_MOST: Final = 3


class Advise(Callback):
    """Say at the end of training what the gate's figures show to be wrong, and early on when the run is slow.

    The module says what its figures mean (`Advises`). Speed is the median of the first steps: the time of a step, and
    the share of it that was spent waiting for data.

    Args:
        waiting: share of a step spent waiting for data, above which loading is too slow.
        hours: a training on a CPU that is going to take longer than this is called slow.
    """

    def __init__(self, waiting: float, hours: float) -> None:
        self.waiting, self.hours = waiting, hours
        self._waits: list[float] = []
        self._steps: list[float] = []
        self._ended: float | None = None
        self._began = 0.0
        self._told = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note how long the batch was waited for."""
        self._began = time.perf_counter()
        if self._ended is not None and not self._told:
            self._waits.append(self._began - self._ended)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note how long the step took, and speak up once enough are measured."""
        if self._told:
            return
        self._ended = time.perf_counter()
        self._steps.append(self._ended - self._began)
        if len(self._steps) == _WARM_UP + _MEASURED:
            self._told = True
            for line in self.speed(trainer):
                _say(trainer, line)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last step's end: what comes before the next epoch is no waiting for data."""
        self._ended = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the last figures show."""
        if isinstance(pl_module, Advises):
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            for line in pl_module.advise(figures)[:_SHOWN_AT_MOST]:
                _say(trainer, line)

    def speed(self, trainer: Trainer) -> list[str]:
        """Return a line for each thing that makes the run slow, from what was measured."""
        step, waited = median(self._steps[_WARM_UP:]), median(self._waits[_WARM_UP:] or [0.0])
        lines = []
        share = waited / (step + waited)
        if share > self.waiting:
            lines.append(
                f"slow data: {share:.0%} of a step of {step + waited:.2f} s is waiting for the next batch (limit "
                f"{self.waiting:.0%}); set data.workers higher"
            )
        left = (step + waited) * trainer.num_training_batches * (trainer.max_epochs or 1)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        if on_cpu and left > self.hours * 3600:
            lines.append(
                f"slow on the CPU: a step takes {step:.2f} s on {torch.get_num_threads()} threads, the whole training "
                f"{timedelta(seconds=round(left))} (called slow from {self.hours:g} h); use a GPU "
                "(trainer=gpu_16gb), a smaller network (of a swapper model/generator=texture_warp or aad_fast, of an "
                "occluder model.encoder=timm-regnety_002) or a lower trainer.max_epochs"
            )
        return lines


def _say(trainer: Trainer, line: str) -> None:
    if trainer.is_global_zero:
        log.warning("advice: %s", line)
