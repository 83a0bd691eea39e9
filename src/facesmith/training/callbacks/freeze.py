"""Two stages of a training: the mapper is trained first, then frozen."""

import logging

from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from facesmith.training.callbacks.protocols import HasMapper

log = logging.getLogger(__name__)


class FreezeMapper(Callback):
    """Stop training the module's mapper once `after_epochs` epochs are done.

    Its parameters take no gradient from then on, so that the optimiser passes them by, decay and momentum included,
    while its state stays where it was: a checkpoint has the same shape before and after. What is frozen follows from
    the epoch alone, so that a resumed run needs to remember nothing. Logged as `train/mapper_frozen`, 0 or 1.

    Args:
        after_epochs: Whole epochs in which the mapper is trained, 0 or more.
    """

    def __init__(self, after_epochs: int) -> None:
        self.after_epochs = after_epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze or unfreeze by the epoch; a run resumed within an epoch does not start one."""
        self._set(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze when it is time."""
        self._set(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Discard the gradients that sharded weights get although they are frozen."""
        assert isinstance(pl_module, HasMapper)
        for parameter in pl_module.mapper.parameters():
            if not parameter.requires_grad:
                parameter.grad = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the stage of the epoch."""
        pl_module.log("train/mapper_frozen", float(trainer.current_epoch >= self.after_epochs))

    def _set(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, HasMapper)
        mapper, frozen = pl_module.mapper, trainer.current_epoch >= self.after_epochs
        if frozen and any(parameter.requires_grad for parameter in mapper.parameters()):
            log.info("epoch %d: the mapper is frozen, the LoRA is trained on", trainer.current_epoch + 1)
        mapper.requires_grad_(not frozen)
        mapper.train(not frozen)
        if frozen:
            for parameter in mapper.parameters():
                parameter.grad = None
