"""How long a training will take and how much memory it needs, told after its first steps."""

import logging
import time
from statistics import median
from typing import Any, Final

import psutil
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.errors import format_bytes
from facesmith.progress import format_duration

log = logging.getLogger(__name__)

_WARM_UP: Final = 3  # steps; the first ones allocate and compile
_MEASURED: Final = 5  # steps
_LATER: Final = 0.4  # of the first validation, which also loads networks and measures what was there before
_FEW: Final = 30  # steps of a training that is over before an estimate would be read


class EstimateDuration(Callback):
    """Log the expected time of the training and its memory once a few steps are measured; at the end what it took.

    The cost of a validation follows from the one before the first step; where there was none, the line says that they
    come on top.

    Attributes:
        estimated: Seconds from the first step to the end of the training; None before it is known.
    """

    def __init__(self) -> None:
        self.estimated: float | None = None
        self._began = self._validation_began = 0.0
        self._validation: float | None = None
        self._first = 0
        self._times: list[float] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure a validation."""
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep how long the validation took."""
        self._validation = time.monotonic() - self._validation_began

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here."""
        self._began, self._first = time.monotonic(), trainer.fit_loop.total_batch_idx + 1
        self._times = [self._began]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Measure the first steps, then log the estimate once."""
        if len(self._times) > _WARM_UP + _MEASURED:
            return
        self._times.append(time.monotonic())
        if len(self._times) > _WARM_UP + _MEASURED:
            self._estimate(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how long it took, beside the estimate."""
        if self.estimated is not None and trainer.is_global_zero:
            took = time.monotonic() - self._began
            log.info("trained in %s (expected: %s)", format_duration(took), format_duration(self.estimated))

    def _estimate(self, trainer: Trainer) -> None:
        epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
        left = epochs * int(batches) - self._first - len(self._times) + 1 if batches < float("inf") else 0
        if left < _FEW:
            return
        times = self._times
        step = median(times[number + 1] - times[number] for number in range(_WARM_UP, len(times) - 1))
        every = trainer.check_val_every_n_epoch or epochs
        validations = len({*range(every, epochs + 1, every), epochs}) if trainer.limit_val_batches else 0
        each = _LATER * (self._validation or 0.0)
        to_go = step * left + validations * each
        self.estimated = times[-1] - self._began + to_go
        known = f"{validations} validations of {format_duration(each)}"
        also = "" if not validations else f", {known}" if self._validation else ", and its validations on top"
        if trainer.is_global_zero:
            memory = _describe_memory(trainer.strategy.root_device)
            log.info(
                "about %s to go: %d steps of %.2f s%s; memory %s", format_duration(to_go), left, step, also, memory
            )


def _describe_memory(device: torch.device) -> str:
    used = f"{format_bytes(psutil.Process().memory_info().rss)} of {format_bytes(psutil.virtual_memory().total)}"
    if device.type != "cuda":
        return used
    whole = torch.cuda.get_device_properties(device).total_memory
    return f"{format_bytes(torch.cuda.max_memory_allocated(device))} of the GPU's {format_bytes(whole)}, and {used}"
