"""When a training validates and saves: after the last epoch, at a cadence, and when a signal asks it to stop."""

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.training.lightning_internals import is_resumable_point
from facesmith.training.run.checkpoint_files import LAST_CHECKPOINT
from facesmith.training.run.preemption import PreemptionHandler


class ValidateLastEpoch(Callback):
    """Validate after the last epoch even where the cadence skips it, so that what is exported has been validated."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so too where a run is resumed within its last epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate after this epoch when it is the last."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class SaveLast(Checkpoint):
    """Save `last.ckpt` at a cadence of time or steps, whichever is due first, and at the end.

    It is saved where a training can resume exactly: after an optimiser step that neither ends an epoch nor is followed
    by validation; otherwise at the end of the epoch. Processes decide together.

    Args:
        folder: Of the checkpoints.
        every_seconds: Seconds between two saves; None: no such cadence.
        every_steps: Optimiser steps between two saves; None: no such cadence.
        most_bytes_per_second: Large checkpoints are saved less often than `every_seconds`, so that on average no more
            than this is written; None: no such limit.
    """

    def __init__(
        self,
        folder: Path,
        every_seconds: float | None,
        every_steps: int | None,
        most_bytes_per_second: float | None = None,
    ) -> None:
        self.folder, self.every_seconds, self.every_steps = folder, every_seconds, every_steps
        self.most_bytes_per_second = most_bytes_per_second
        self._saved_at, self._saved_step, self._saved_bytes = 0.0, 0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here."""
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Save when due."""
        if self._is_due(trainer) and is_resumable_point(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when due, and at the end of the training."""
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        ends = ends or trainer.global_step == trainer.max_steps
        if (ends or self._is_due(trainer)) and self._saved_step != trainer.global_step:
            self._save(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was not to be trained."""
        if trainer.max_epochs == 0:
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        waited = time.monotonic() - self._saved_at
        wait = self.every_seconds
        if wait is not None and self.most_bytes_per_second is not None:
            wait = max(wait, self._saved_bytes / self.most_bytes_per_second)
        due = wait is not None and waited >= wait
        if trainer.world_size > 1 and self.every_seconds is not None:
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        return due or (self.every_steps is not None and trainer.global_step - self._saved_step >= self.every_steps)

    def _save(self, trainer: Trainer) -> None:
        path = self.folder / LAST_CHECKPOINT
        trainer.save_checkpoint(path)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        if path.is_file():
            self._saved_bytes = path.stat().st_size


class GracefulShutdown(Checkpoint):
    """Save `last.ckpt` at the next step and end the run when a signal asked for it.

    The hooks raise `facesmith.errors.Interrupted`.

    Args:
        preemption: Knows whether a signal came.
        folder: Of the checkpoints.
    """

    def __init__(self, preemption: PreemptionHandler, folder: Path) -> None:
        self.preemption, self.folder = preemption, folder
        self._saved = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to save."""
        self.preemption.install()
        self.preemption.training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Save when asked to stop."""
        if self._is_requested(trainer) and is_resumable_point(trainer):
            trainer.save_checkpoint(self.folder / LAST_CHECKPOINT)
            self._saved = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End the run, once the step that was saved is logged."""
        if self._saved:
            self.preemption.raise_if_requested()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and end the run where the epoch had no resumable point left."""
        if self._is_requested(trainer):
            trainer.save_checkpoint(self.folder / LAST_CHECKPOINT)
            self.preemption.raise_if_requested()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal stop immediately what follows: it can be repeated."""
        self.preemption.training = False

    def _is_requested(self, trainer: Trainer) -> bool:
        requested = self.preemption.received is not None
        if trainer.world_size > 1:
            requested = trainer.strategy.reduce_boolean_decision(requested, all=False)
            if requested and self.preemption.received is None:
                self.preemption.mark_requested()
        return requested
