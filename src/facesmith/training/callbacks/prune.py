"""Pruning: end a job of a sweep early when its metric is not promising."""

from lightning import Callback, LightningModule, Trainer

from facesmith.errors import PrunedError
from facesmith.training.run.trial import get_current_trial


class PruneTrial(Callback):
    """Report each validation of the monitored metric to the sweep, and end the job when its pruner decides so.

    Nothing happens outside of a sweep, in one that does not prune, and after the last epoch.

    Args:
        monitor: Name of the metric; None: nothing is reported.
    """

    def __init__(self, monitor: str | None) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metric and ask the pruner.

        Raises:
            PrunedError: The job is to end.
        """
        trial = get_current_trial()
        if trial is None or self.monitor is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        value, epochs = trainer.callback_metrics.get(self.monitor), trainer.current_epoch + 1
        if value is None or trial.report is None:
            return
        prune = trial.report(float(value), epochs)
        if prune and epochs != trainer.max_epochs:
            raise PrunedError(f"after epoch {epochs}: {self.monitor} {float(value):.4g}")
