"""How long a training will take and how much memory it needs, told before its first step."""

import logging
import time
from statistics import median
from typing import Any, Final, NamedTuple

import psutil
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.errors import format_bytes
from facesmith.models.onnx.export_spec import Exports
from facesmith.progress import format_duration, waiting
from facesmith.training.callbacks.exact_state import get_random_state, set_random_state
from facesmith.training.callbacks.protocols import TimesEvaluation, get_datamodule
from facesmith.training.callbacks.step_trial import time_step
from facesmith.training.durations import recall_duration, remember_durations
from facesmith.training.run.environment import process_peak

log = logging.getLogger(__name__)

_FEW: Final = 30  # steps of a training that is over before an estimate would be read
_WARM_UP: Final = 3  # steps; the first ones allocate and compile
_MEASURED: Final = 5  # steps
_LATER: Final = 0.4  # of the first validation, which also loads networks and measures what was there before
_EXPORT: Final = 36.0  # seconds of an export that was not made here before


class Estimate(NamedTuple):
    """What a training is expected to take from its first step to the end, exports included.

    Attributes:
        seconds: Wall-clock time.
        memory: Peak in bytes: the GPU's where there is one, else the process's.
    """

    seconds: float
    memory: int


class EstimateDuration(Callback):
    """Log the expected time and memory before the first step, and at the end what it was.

    A step is tried on a real batch and undone. What a validation and the exports take is known from the one before the
    first step, or from the last training of such a network on this machine. Where a step cannot be tried (several
    devices), the first steps are measured instead. A training of fewer than 30 steps gets no estimate.

    Attributes:
        estimate: None before it is known.
    """

    def __init__(self) -> None:
        self.estimate: Estimate | None = None
        self._began = self._validation_began = self._trained = 0.0
        self._validation: float | None = None
        self._sanity = False
        self._first = self._last = 0
        self._times: list[float] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure a validation."""
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep how long the validation took."""
        self._validation, self._sanity = time.monotonic() - self._validation_began, trainer.sanity_checking
        if trainer.is_global_zero and not self._sanity and self._last - self._first >= _FEW:  # else it is no guide
            remember_durations({_validation_name(trainer, pl_module): self._validation})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try a step, and log the estimate."""
        self._first = trainer.fit_loop.total_batch_idx + 1
        self._last = _count_batches(trainer)
        if self._last - self._first >= _FEW:
            _load_validation(trainer)
            with waiting("trying a step to estimate the time", shown=trainer.is_global_zero):
                cost = time_step(trainer, pl_module)
            if cost is not None:
                memory = _used_memory(trainer) + cost.moments
                self._tell(trainer, pl_module, cost.seconds, self._last - self._first, memory)
        self._began = time.monotonic()
        self._times = [self._began]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Measure the first steps where none was tried, then log the estimate."""
        if self.estimate is not None or len(self._times) > _WARM_UP + _MEASURED:
            return
        self._times.append(time.monotonic())
        left = self._last - self._first - len(self._times) + 1
        if len(self._times) > _WARM_UP + _MEASURED and left >= _FEW:
            times = self._times
            step = median(times[number + 1] - times[number] for number in range(_WARM_UP, len(times) - 1))
            self._tell(trainer, pl_module, step, left, _used_memory(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that what follows are the exports."""
        self._trained = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how long it took, beside the estimate, and remember it for the next one."""
        if not trainer.is_global_zero or not self._trained:
            return
        now = time.monotonic()
        if self._last - self._first >= _FEW:
            remember_durations({export_name(pl_module): now - self._trained})
        if self.estimate is None or trainer.fit_loop.total_batch_idx + 1 < self._last:
            return
        log.info(
            "took %s (expected: %s) and %s of memory (expected: %s)",
            format_duration(now - self._began),
            format_duration(self.estimate.seconds),
            format_bytes(_peak_memory(trainer)),
            format_bytes(self.estimate.memory),
        )

    def _tell(self, trainer: Trainer, module: LightningModule, step: float, left: int, memory: int) -> None:
        validations = _count_validations(trainer)
        each, first = self._expect_validation(trainer, module, step) if validations else (0.0, 0.0)
        export = recall_duration(export_name(module))
        if export is None:
            export = _EXPORT if isinstance(module, Exports) else 0.0
        gone = time.monotonic() - self._began if self._began else 0.0
        memory = max(memory, _peak_memory(trainer))
        self.estimate = Estimate(gone + step * left + validations * each + first + export, memory)
        if not trainer.is_global_zero:
            return
        parts = [f"{left} steps of {step:.2f} s" if step >= 0.1 else f"{left} steps of {1000 * step:.1f} ms"]
        if validations:
            counted = "1 validation" if validations == 1 else f"{validations} validations"
            more = f", the first {format_duration(first)} more" if first >= 1 else ""
            parts.append(f"{counted} of {format_duration(each)}{more}")
        if export >= 1:
            parts.append(f"exports of {format_duration(export)}")
        total = format_duration(self.estimate.seconds - gone)
        log.info("about %s to go: %s; memory %s", total, ", ".join(parts), _describe_memory(trainer, memory))

    def _expect_validation(self, trainer: Trainer, module: LightningModule, step: float) -> tuple[float, float]:
        """Return the seconds of each validation, and how many more the first takes."""
        batches = _sum(trainer.num_val_batches)
        if self._validation is not None:
            checked = _sum(trainer.num_sanity_val_batches) if self._sanity else batches
            expected, first = _LATER * self._validation * batches / max(1.0, checked), 0.0
        else:
            measured, first = _time_evaluation(trainer)
            expected = step / 3 * batches + measured  # a forward pass is about a third of a step
        known = recall_duration(_validation_name(trainer, module))
        return expected if known is None else known, first


def _time_evaluation(trainer: Trainer) -> tuple[float, float]:
    """Return the seconds that it takes to measure what a validation shows, and how many more at the first."""
    data = get_datamodule(trainer)
    if not isinstance(data, TimesEvaluation) or trainer.world_size > 1:
        return 0.0, 0.0
    before = get_random_state()
    try:
        return data.time_evaluation()
    finally:
        set_random_state(before)


def _count_batches(trainer: Trainer) -> int:
    """Count the batches of the whole training; 0 where that is not known."""
    batches, epochs = trainer.num_training_batches, trainer.max_epochs or 0
    if batches == float("inf") or epochs < 0:
        return 0
    total = epochs * int(batches)
    return total if trainer.max_steps < 0 else min(total, trainer.max_steps * trainer.accumulate_grad_batches)


def _load_validation(trainer: Trainer) -> None:
    """Make the loaders of the validation, as Lightning does later where the first epoch has none: they are counted."""
    if trainer.val_dataloaders is None:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True


def _count_validations(trainer: Trainer) -> int:
    """Count the validations that are still to come."""
    epochs, every = trainer.max_epochs or 0, trainer.check_val_every_n_epoch
    if not trainer.limit_val_batches or not _sum(trainer.num_val_batches):
        return 0
    done = trainer.current_epoch
    return len({*range(every, epochs + 1, every), epochs} - set(range(done + 1))) if every else epochs - done


def _sum(batches: int | float | list[int | float]) -> float:
    total = float(sum(batches)) if isinstance(batches, list) else float(batches)
    return total if total < float("inf") else 0.0


def export_name(module: LightningModule) -> str:
    """Return the name under which is remembered how long the exports of a network took on this machine.

    Args:
        module: With the network.
    """
    return f"exports of {_network_name(module)}"


def _validation_name(trainer: Trainer, module: LightningModule) -> str:
    batches = f"{_sum(trainer.num_val_batches):g} batches"
    return f"validation of {_network_name(module)}, {batches}, {trainer.strategy.root_device.type}"


def _network_name(module: LightningModule) -> str:
    return f"{type(module).__name__} of {sum(value.numel() for value in module.parameters())} parameters"


def _used_memory(trainer: Trainer) -> int:
    device = trainer.strategy.root_device
    return int(torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss)


def _peak_memory(trainer: Trainer) -> int:
    device = trainer.strategy.root_device
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else int(process_peak() * 2**20)


def _describe_memory(trainer: Trainer, memory: int) -> str:
    device = trainer.strategy.root_device
    whole = format_bytes(psutil.virtual_memory().total)
    if device.type != "cuda":
        return f"{format_bytes(memory)} of {whole}"
    of_gpu = format_bytes(torch.cuda.get_device_properties(device).total_memory)
    return f"{format_bytes(memory)} of the GPU's {of_gpu}, and {format_bytes(int(process_peak() * 2**20))} of {whole}"
