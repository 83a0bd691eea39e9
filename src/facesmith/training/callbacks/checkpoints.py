"""A training ends with a verdict."""

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from facesmith.training.run.checkpoint_files import LAST
from facesmith.training.run.stopping import StopWish


class ValidateLastEpoch(Callback):
    """Validate after the last epoch too, when the cadence would leave it out: what is exported has been judged."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so too where a run is resumed within its last epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring validation forward when this epoch is the last."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class SaveLast(Checkpoint):
    """Write `last.ckpt` every `every_seconds` or `every_steps` optimiser steps, whichever is due, and at the end.

    It is written where a training can go on exactly: after an optimiser step that neither ends an epoch nor is followed
    by validation; else at the end of the epoch. A null cadence is none. Processes decide together.
    """

    def __init__(self, folder: Path, every_seconds: float | None, every_steps: int | None) -> None:
        self.folder, self.every_seconds, self.every_steps = folder, every_seconds, every_steps
        self._saved_at, self._saved_step = 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here."""
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when due."""
        if self._due(trainer) and between_steps(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when due, and what training ends with."""
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        ends = ends or trainer.global_step == trainer.max_steps
        if (ends or self._due(trainer)) and self._saved_step != trainer.global_step:
            self._save(trainer)

    def _due(self, trainer: Trainer) -> bool:
        waited = time.monotonic() - self._saved_at
        due = self.every_seconds is not None and waited >= self.every_seconds
        if trainer.world_size > 1 and self.every_seconds is not None:
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        return due or (self.every_steps is not None and trainer.global_step - self._saved_step >= self.every_steps)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder / LAST)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step


class StopWhenAsked(Checkpoint):
    """Save `last.ckpt` at the next step and end the run when a signal asked for it.

    Raises facesmith.errors.Interrupted.
    """

    def __init__(self, wish: StopWish, folder: Path) -> None:
        self.wish, self.folder = wish, folder
        self._saved = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to save."""
        self.wish.take()
        self.wish.training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when asked."""
        if self._asked(trainer) and between_steps(trainer):
            trainer.save_checkpoint(self.folder / LAST)
            self._saved = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End the run, once the step that was saved is logged."""
        if self._saved:
            self.wish.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and end the run where an epoch has no better place."""
        if self._asked(trainer):
            trainer.save_checkpoint(self.folder / LAST)
            self.wish.check()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What follows can be done again; a signal stops it at once."""
        self.wish.training = False

    def _asked(self, trainer: Trainer) -> bool:
        asked = self.wish.wanted is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
            if asked and self.wish.wanted is None:
                self.wish.heard()
        return asked


def between_steps(trainer: Trainer) -> bool:
    """Tell whether a training can go on exactly from here: no gradients pending, a batch of the same epoch next."""
    loop = trainer.fit_loop
    epoch = loop.epoch_loop
    assert loop._data_fetcher is not None
    return not (loop._should_accumulate() or epoch._is_training_done or epoch._should_check_val_fx(loop._data_fetcher))
