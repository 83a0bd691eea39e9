"""The training's progress bar."""

import time
from datetime import timedelta

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from typing_extensions import override

_SECONDS_BETWEEN_READS = 0.5

Metrics = dict[str, int | str | float | dict[str, float]]


class TrainingProgress(RichProgressBar):
    """Lightning's rich bar, whose own times are the epoch's, with the time left until the last epoch.

    Metrics are read twice a second instead of at every step: reading one waits for the GPU.

    Args:
        refresh_rate: Redraws per second.
        leave: Whether each epoch's bar stays on the screen.
    """

    def __init__(self, refresh_rate: int, leave: bool) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self._started = self._last_read = 0.0
        self._first_batch = 0
        self._metrics: Metrics = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started, self._last_read = time.monotonic(), 0.0
        self._first_batch = trainer.fit_loop.total_batch_idx + 1

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Metrics:
        now = time.monotonic()
        if now - self._last_read < _SECONDS_BETWEEN_READS:
            return self._metrics
        self._last_read = now
        metrics = {k: v for k, v in super().get_metrics(trainer, pl_module).items() if k != "v_num"}
        left = self._seconds_left(trainer, now)
        if left is not None:
            metrics["left"] = str(timedelta(seconds=round(left)))
        self._metrics = metrics
        return metrics

    def _seconds_left(self, trainer: Trainer, now: float) -> float | None:
        done = trainer.fit_loop.total_batch_idx + 1
        if not trainer.max_epochs or trainer.max_epochs < 0 or done <= self._first_batch:
            return None
        total = trainer.max_epochs * trainer.num_training_batches
        return max(0.0, (now - self._started) / (done - self._first_batch) * (total - done))
