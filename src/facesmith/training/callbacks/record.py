"""Record the run's hyperparameters and progress in loggers and `run.json`."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from facesmith.training.run.record import Recorder


class RecordRun(Callback):
    """Log the settings to every logger, and write every validation's metrics to the run's record.

    Loggers get nothing before the data are prepared and found good. A validation before the first step is logged at
    step 0; where nothing is trained, its metrics are those of the run.

    Args:
        recorder: Of this run.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._untrained: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the metrics of the validation before the first step."""
        return {"untrained": self._untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._untrained = dict(state_dict.get("untrained", {}))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the settings, once the data are prepared."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        self.recorder.update(trained=trainer.max_epochs != 0)
        for logger in trainer.loggers:
            logger.log_hyperparams(self.recorder.record.settings)
            if isinstance(logger, WandbLogger):
                self.recorder.update(wandb_id=logger.version)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the metrics that a run without a checkpoint left in this folder."""
        if not trainer.ckpt_path:
            self.recorder.reset_metrics()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the validation's metrics."""
        if trainer.sanity_checking:
            self._untrained = {name: float(value) for name, value in trainer.callback_metrics.items()}
            for logger in trainer.loggers if self._untrained else ():
                logger.log_metrics(self._untrained, step=0)
            return
        self._record(trainer, trainer.current_epoch)
        best = self.recorder.record.metrics.best
        for logger in trainer.loggers:
            if best and hasattr(logger, "log_best"):
                logger.log_best({name: one.value for name, one in best.items()}, next(iter(best.values())).epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what was logged after the last validation."""
        self._record(trainer, None)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what was measured before the first step to the final metrics."""
        metrics, untrained = trainer.callback_metrics, self._untrained
        if trainer.max_epochs:
            validated = {name.partition("/")[2]: v for name, v in untrained.items() if name.startswith("val/")}
            metrics.update({f"untrained/{name}": torch.tensor(value) for name, value in validated.items()})
        metrics.update({name: torch.tensor(value) for name, value in untrained.items() if name not in metrics})
        if trainer.max_epochs == 0:
            self._record(trainer, -1)

    def _record(self, trainer: Trainer, validated: int | None) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        done = trainer.fit_loop.epoch_progress.current.completed
        self.recorder.update_metrics(done, trainer.global_step, metrics, validated)
