"""What a run is and how it goes, for the loggers and for its record."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from facesmith.metrics.swap import PictureMetrics, SwapMetrics
from facesmith.training.callbacks.protocols import Judges
from facesmith.training.run.loggers import wandb_of
from facesmith.training.run.record import Recorder


class RecordRun(Callback):
    """Return the settings to every logger, and every validation's figures to the run's record.

    Nothing is told to the loggers before the data are found good.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the settings, once the data are prepared."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_hyperparams(self.recorder.record.settings)
            if isinstance(logger, WandbLogger):
                self.recorder.note(wandb_id=logger.version)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what a run without a checkpoint left in this folder."""
        if trainer.global_step == 0:
            self.recorder.starts_over()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the figures."""
        if trainer.sanity_checking:
            return
        self._record(trainer, trainer.current_epoch)
        best = self.recorder.record.metrics.best
        for logger in trainer.loggers:
            if best and hasattr(logger, "log_best"):
                logger.log_best({name: one.value for name, one in best.items()}, next(iter(best.values())).epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what was logged after the last validation."""
        self._record(trainer, None)

    def _record(self, trainer: Trainer, validated: int | None) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done = trainer.fit_loop.epoch_progress.current.completed
        self.recorder.reached(done, trainer.global_step, figures, validated)


TABLE = "gate/targets"
_WHEN = {"before": "before", "val": "after", "before_holdout": "held out, before", "val_holdout": "held out, after"}


class LogGateTable(Callback):
    """Return W&B a table of the last gate's figures, a row a target, as `gate/targets`. It holds numbers and names."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        logger = wandb_of(trainer)
        if logger is not None and isinstance(data, Judges) and data.quality:
            table = wandb.Table(columns=[*_columns(), "accepted"], data=_rows(data.quality))
            logger.experiment.log({TABLE: table, "trainer/global_step": trainer.global_step})


def _columns() -> list[str]:
    return ["target", "when", *(field.name for field in dataclasses.fields(PictureMetrics) if field.name != "name")]


def _rows(quality: Mapping[str, SwapMetrics]) -> list[list[Any]]:
    rows = []
    for prefix, title in _WHEN.items():
        for verdict in quality[prefix].pictures if prefix in quality else ():
            name, *figures = dataclasses.astuple(verdict)
            rows.append([name, title, *figures, verdict.accepted])
    return rows
