"""Record the run's hyperparameters and progress in loggers and `run.json`."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from facesmith.training.run.record import Recorder


class RecordRun(Callback):
    """Log the settings to every logger, and write every validation's metrics to the run's record.

    Loggers get nothing before the data are prepared and found good.

    Args:
        recorder: Of this run.
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
                self.recorder.update(wandb_id=logger.version)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the metrics that a run without a checkpoint left in this folder."""
        if trainer.global_step == 0:
            self.recorder.reset_metrics()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation's metrics."""
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
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done = trainer.fit_loop.epoch_progress.current.completed
        self.recorder.update_metrics(done, trainer.global_step, metrics, validated)
