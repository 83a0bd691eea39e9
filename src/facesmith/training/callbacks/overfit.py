"""A check that a training can learn at all: a few batches, repeated, must be memorised."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.errors import UserError
from facesmith.terminal import make_console, print_line


class RepeatBatches(Callback):
    """Train on the first epoch's batches in every epoch, as augmented then, and print at the end whether it worked.

    How many batches there are is `trainer.limit_train_batches`. Lightning's `overfit_batches` stops shuffling a
    `RandomSampler`; it repeats neither the batches of a sampler of one's own nor what augmentation drew, so that a
    network has nothing to memorise. The hooks raise `UserError` for batches that are not dicts of tensors, and for a
    training step that returns no loss.

    Args:
        max_loss_ratio: Mean loss of the last epoch over that of the first, 0..1, up to which the batches count as
            memorised.
    """

    def __init__(self, max_loss_ratio: float) -> None:
        self.max_loss_ratio = max_loss_ratio
        self.first_loss: float | None = None
        self.last_loss: float | None = None
        self._batches: list[dict[str, torch.Tensor]] = []
        self._losses: list[torch.Tensor] = []

    @property
    def memorised(self) -> bool:
        """Whether the batches were memorised; false before the second epoch."""
        if self.first_loss is None or self.last_loss is None:
            return False
        return self.last_loss <= self.max_loss_ratio * self.first_loss

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep a new batch on its device, or replace the batch by the kept one."""
        if not isinstance(batch, MutableMapping):
            raise UserError(f"debug=overfit: batches are {type(batch).__name__}; only dicts of tensors can be repeated")
        if batch_idx == len(self._batches):
            self._batches.append({name: value.clone() for name, value in batch.items()})
        else:
            batch.update(self._batches[batch_idx])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss."""
        if not isinstance(outputs, Mapping):
            raise UserError("debug=overfit: training_step returned no loss, so that memorising cannot be measured")
        self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the epoch's mean loss."""
        self.last_loss = torch.stack(self._losses).mean().item()
        self.first_loss = self.last_loss if self.first_loss is None else self.first_loss
        self._losses.clear()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the result in one line."""
        if trainer.is_global_zero and self.first_loss is not None:
            print_line(self.describe(), make_console())

    def describe(self) -> str:
        """Return one line: losses, ratio, memorised or not."""
        assert self.first_loss is not None
        assert self.last_loss is not None
        verdict = "memorised" if self.memorised else "NOT memorised"
        return (
            f"overfit: {verdict} {len(self._batches)} batches: loss {self.first_loss:.4g} at first, "
            f"{self.last_loss:.4g} at last ({self.last_loss / self.first_loss:.0%}; memorised is "
            f"{self.max_loss_ratio:.0%} or less)"
        )
