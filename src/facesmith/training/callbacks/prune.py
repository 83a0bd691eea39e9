"""End hopeless jobs of a sweep early."""

from lightning import Callback, LightningModule, Trainer

from facesmith.errors import PrunedError
from facesmith.training.run.trial import current


class PruneTrial(Callback):
    """Report each validation of the monitored metric to the sweep, and end the job when its pruner says so.

    Nothing happens outside of a sweep, in one that prunes nothing, and after the last epoch.
    """

    def __init__(self, monitor: str | None) -> None:
        self.monitor = monitor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and ask.

        Raises:
            PrunedError: the job is to end.
        """
        job = current()
        if job is None or self.monitor is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        value, epochs = trainer.callback_metrics.get(self.monitor), trainer.current_epoch + 1
        if value is None:
            return
        hopeless = job.hopeless(float(value), epochs)
        if hopeless and epochs != trainer.max_epochs:
            raise PrunedError(f"after epoch {epochs}: {self.monitor} {float(value):.4g}")
