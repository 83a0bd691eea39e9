"""A training ends with a verdict."""

from lightning import Callback, LightningModule, Trainer


class ValidateLastEpoch(Callback):
    """Validate after the last epoch too, when the cadence would leave it out: what is exported has been judged."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so too where a run is resumed within its last epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring validation forward when this epoch is the last."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1
