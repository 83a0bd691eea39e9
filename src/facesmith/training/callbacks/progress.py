"""The training's progress bar: the whole training, with the time that is left of it."""

import logging
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.types import STEP_OUTPUT
from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typing_extensions import override

from facesmith.progress import format_duration, waiting

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES: Final = 60.0  # where there is no terminal


class _TimeLeft(TimeRemainingColumn):
    """Draw the time left that a task names, else the one by rich, whose mean of some minutes a long pause distorts."""

    @override
    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if left is None:
            return super().render(task)
        return Text(str(timedelta(seconds=round(left))), style="progress.remaining")


class TrainingProgress(ProgressBar):
    """One bar for all epochs, with the loss and the time left, and one for each validation; both disappear at the end.

    Lightning's own bars count an epoch each. Metrics are read at each redraw instead of at every step: reading one
    waits for the GPU. Without a terminal a line a minute is logged.

    Args:
        refresh_rate: Redraws per second; 0: no bar.
        leave: Whether the bar of the training stays on the screen.
    """

    def __init__(self, refresh_rate: int, leave: bool) -> None:
        super().__init__()
        self._refresh_rate, self._leave, self._enabled = refresh_rate, leave, refresh_rate > 0
        self._preparing = ExitStack()
        self._bar: Progress | None = None
        self._training: TaskID | None = None
        self._validation: TaskID | None = None
        self._drawn = self._began = 0.0
        self._first = 0

    @override
    def enable(self) -> None:
        self._enabled = True

    @override
    def disable(self) -> None:
        self._enabled = False
        self._stop()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._preparing.enter_context(waiting("preparing the network", shown=self._enabled and trainer.is_global_zero))

    @override
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._preparing.close()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._preparing.close()
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 0)
        self._began = self._drawn = time.monotonic()
        self._first = trainer.fit_loop.total_batch_idx + 1
        bar = self._start()
        if bar is not None and total > 0:
            self._training = bar.add_task("training", total=total, completed=self._first, note="", left=None)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        shown = self._bar is not None and self._training is not None
        between = 1 / self._refresh_rate if shown else _SECONDS_BETWEEN_LINES
        if not self._enabled or now - self._drawn < between or not trainer.is_global_zero:
            return
        self._drawn = now
        done, epochs = trainer.fit_loop.total_batch_idx + 1, trainer.max_epochs or 0
        title = f"epoch {trainer.current_epoch + 1}/{epochs}"
        loss = trainer.progress_bar_metrics.get("train/loss")
        note = f"loss {loss:.4f}" if isinstance(loss, float) else ""
        total = int(trainer.num_training_batches) * epochs
        left = (now - self._began) / max(1, done - self._first) * (total - done)  # validations and renders included
        if self._bar is not None and self._training is not None:
            self._bar.update(self._training, completed=done, description=title, note=note, left=left)
            return
        log.info("%s, step %d of %d, %s, %s left", title, done, total, note, format_duration(left))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        bar = self._start()
        if bar is not None:
            total = sum(batches) if all(one < float("inf") for one in batches) else None
            self._validation = bar.add_task("validation", total=total, note="")

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._bar is not None and self._validation is not None:
            self._bar.advance(self._validation)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None and self._validation is not None:
            self._bar.remove_task(self._validation)
            self._validation = None
        if trainer.sanity_checking:
            self._stop()

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None and self._training is not None:
            self._bar.update(self._training, completed=trainer.fit_loop.total_batch_idx + 1)
        self._stop()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    @override
    def print(self, *args: Any, **kwargs: Any) -> None:
        get_console().print(*args)

    def _start(self) -> Progress | None:
        """Draw the bars from here on; None where none are drawn."""
        if self._bar is None and self._enabled and self.trainer.is_global_zero and get_console().is_terminal:
            columns = (
                SpinnerColumn("line"),
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TextColumn("left"),
                _TimeLeft(),
            )
            self._bar = Progress(
                *columns,
                console=get_console(),
                transient=not self._leave,
                expand=True,
                refresh_per_second=self._refresh_rate,
                speed_estimate_period=300,
            )
            self._bar.start()
        return self._bar

    def _stop(self) -> None:
        self._preparing.close()
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._training = self._validation = None
