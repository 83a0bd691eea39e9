"""Can it learn at all? A few batches again and again must be memorised."""

from collections.abc import MutableMapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console

from facesmith.errors import UserError


class RepeatBatches(Callback):
    """Show the first epoch's batches in every epoch, augmentation and all, and say at the end whether they were learnt.

    `memorised` is the share of the first epoch's mean loss that the last epoch's must not exceed. How many batches
    there are is `trainer.limit_train_batches`. Batches are dicts of tensors and stay on the device. Raises UserError
    for batches of another kind, or a training step that returns no loss.
    """

    def __init__(self, memorised: float) -> None:
        self.memorised = memorised
        self.first: float | None = None
        self.last: float | None = None
        self._batches: list[dict[str, torch.Tensor]] = []
        self._losses: list[torch.Tensor] = []

    @property
    def learnt(self) -> bool:
        """Tell whether the batches were memorised."""
        return self.first is not None and self.last is not None and self.last <= self.memorised * self.first

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep a new batch, or put the kept one in its place."""
        if not isinstance(batch, MutableMapping):
            raise UserError(f"debug=overfit: batches are {type(batch).__name__}; only dicts of tensors can be repeated")
        if batch_idx == len(self._batches):
            self._batches.append({name: value.clone() for name, value in batch.items()})
        else:
            batch.update(self._batches[batch_idx])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss."""
        if outputs is None:
            raise UserError("debug=overfit: training_step returned no loss, so there is nothing to watch")
        self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's mean."""
        self.last = torch.stack(self._losses).mean().item()
        self.first = self.last if self.first is None else self.first
        self._losses.clear()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it in one line."""
        if trainer.is_global_zero and self.first is not None and self.last is not None:
            Console().print(self.verdict(), highlight=False, soft_wrap=True)

    def verdict(self) -> str:
        """Return the line: losses, share, memorised or not."""
        assert self.first is not None
        assert self.last is not None
        told = (
            f"{len(self._batches)} batches: loss {self.first:.4g} at first, {self.last:.4g} at last "
            f"({self.last / self.first:.0%}; memorised is {self.memorised:.0%} or less)"
        )
        return f"overfit: memorised {told}" if self.learnt else f"overfit: NOT memorised {told}"
