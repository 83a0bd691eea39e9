"""Training that notices when its numbers are no numbers any more."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from facesmith.errors import UserError
from facesmith.training.callbacks.protocols import KeepsLossParts

log = logging.getLogger(__name__)

_HALVINGS: Final = 24  # of float16's loss scale in a row: from 65536 to .004, where overflow has another reason
_NAMED_AT_MOST: Final = 4


class DivergedError(UserError):
    """Loss, gradients or weights hold NaN or infinity."""


class _Seen(NamedTuple):
    loss: Tensor
    parts: Mapping[str, Tensor]


class GuardTraining(Callback):
    """Look at loss and gradients before each optimiser step; stop before a bad one, or leave it out and count it.

    One norm a tensor and one number read for all: what is not finite never reaches weights and running statistics, and
    a checkpoint that holds it is refused, so the newest checkpoint is a good one. Micro-batches of an accumulated step
    are looked at together. Where float16 scales its loss, overflowing gradients are normal and left to the scaler,
    until it has halved its scale many times in a row. Processes decide together.

    Args:
        on_nonfinite: `stop` raises `DivergedError`; `skip` leaves out the step and warns.
        limit: steps that may be left out in a run; one more stops it.
        folder: of the checkpoints, of which the message names the newest.
    """

    def __init__(self, on_nonfinite: Literal["stop", "skip"], limit: int, folder: Path) -> None:
        self.on_nonfinite, self.limit, self.folder = on_nonfinite, limit, folder
        self.skipped = 0
        self._halved = 0
        self._window: list[_Seen] = []
        self._batch: Any = None
        self._statistics: list[Tensor] = []
        self._kept: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """Remember how many steps were left out."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped = state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the running statistics: a bad batch spoils them in its forward pass already."""
        norms = [m for m in pl_module.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
        found = [s for m in norms for s in (m.running_mean, m.running_var) if s is not None]
        self._statistics, self._kept = found, [s.detach().clone() for s in found]
        self._window = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Hold the batch, to be asked when something is wrong."""
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note the loss and its parts; nothing is read yet, so a GPU is not waited for."""
        parts = pl_module.loss_parts if isinstance(pl_module, KeepsLossParts) else {}
        self._window.append(_Seen(loss.detach(), parts))

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Decide whether this step is taken.

        Raises:
            DivergedError: it must not be, and `on_nonfinite` or the limit says so.
        """
        window, self._window = self._window, []
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        bad = bool(gradients) and not _finite(gradients)
        bad = bad or not all(math.isfinite(seen.loss.item()) for seen in window)
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if not bad:
            self._halved = 0
            if self._statistics:
                torch._foreach_copy_(self._kept, self._statistics)
            return
        if self._statistics:
            torch._foreach_copy_(self._statistics, self._kept)
        culprit = self._culprit(pl_module, window)
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            self._leave_to_the_scaler(trainer, culprit)
            return
        self.skipped += 1
        if self.on_nonfinite == "stop" or self.skipped > self.limit:
            raise DivergedError(self._message(trainer, optimizer, culprit))
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        log.warning(
            "step %d: %s; the step is left out (%d of callbacks.guard.limit=%d)",
            trainer.global_step,
            culprit,
            self.skipped,
            self.limit,
        )

    @torch.no_grad()
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose weights are not finite.

        Raises:
            DivergedError: they are not.
        """
        weights = {**dict(_floats(pl_module)), **_tensors(checkpoint["state_dict"])}
        if weights and not _finite(weights.values()):
            names = ", ".join([name for name, value in weights.items() if not _finite([value])][:_NAMED_AT_MOST])
            raise DivergedError(
                f"step {trainer.global_step}: the weights {names} are not finite, so no checkpoint is written; "
                f"{self._last_good()}"
            )

    def _leave_to_the_scaler(self, trainer: Trainer, culprit: str) -> None:
        self._halved += 1
        if self._halved > _HALVINGS:
            raise DivergedError(
                f"step {trainer.global_step}: {culprit} for {self._halved} steps in a row, however small float16's "
                f"loss scale; {self._last_good()}; try trainer.precision=bf16-mixed or 32-true"
            )

    def _culprit(self, module: LightningModule, window: list[_Seen]) -> str:
        """Say what is not finite, the earliest in the chain from batch to gradient."""
        spoilt = [name for name, value in _floats(module) if not _finite([value])]
        if spoilt:
            return f"the weights {', '.join(spoilt[:_NAMED_AT_MOST])} were not finite before the step"
        data = [name for name, value in _tensors(self._batch).items() if not _finite([value])]
        of_batch = f" (the batch's {', '.join(data[:_NAMED_AT_MOST])} too)" if data else ""
        for seen in window:
            parts = {name: float(value) for name, value in seen.parts.items() if not _finite([value])}
            if parts:
                told = ", ".join(f"{name} is {value}" for name, value in list(parts.items())[:_NAMED_AT_MOST])
                return f"{told}{of_batch}"
            if not _finite([seen.loss]):
                return f"the loss is {float(seen.loss)}{of_batch}"
        groups: dict[str, Tensor] = {}
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and not _finite([parameter.grad]):
                groups.setdefault(".".join(name.split(".")[:2]), parameter.grad)
        if not groups:
            return "another process met what is not finite"
        return f"the loss is finite, the gradient of {', '.join(list(groups)[:_NAMED_AT_MOST])} is not"

    def _message(self, trainer: Trainer, optimizer: Optimizer, culprit: str) -> str:
        rate = optimizer.param_groups[0]["lr"]
        start = optimizer.param_groups[0].get("initial_lr", rate)
        tries = [f"model.optimizer.lr={start / 2:.3g} (now {start:.3g})"]
        clip = trainer.gradient_clip_val
        if clip is None or clip > 1:
            tries.append(f"trainer.gradient_clip_val=1.0 (now {clip})")
        if str(trainer.precision) != "32-true":
            tries.append(f"trainer.precision=32-true (now {trainer.precision})")
        left_out = f" and {self.limit} steps were left out before" if self.on_nonfinite == "skip" else ""
        going_on = (
            f"a higher callbacks.guard.limit (now {self.limit})"
            if self.on_nonfinite == "skip"
            else "callbacks.guard.on_nonfinite=skip"
        )
        return (
            f"step {trainer.global_step} (epoch {trainer.current_epoch}): {culprit}{left_out}, at learning rate "
            f"{rate:.3g}; the step was not taken; {self._last_good()}; try {', '.join(tries)}, or {going_on}"
        )

    def _last_good(self) -> str:
        found = sorted(self.folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        return f"last good checkpoint: {found[-1]}" if found else "no checkpoint was written yet"


def _floats(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            yield name, value.detach()


def _tensors(values: Any) -> dict[str, Tensor]:
    pairs = values.items() if isinstance(values, Mapping) else ()
    return {str(name): value for name, value in pairs if isinstance(value, Tensor) and value.is_floating_point()}


def _finite(values: Iterable[Tensor]) -> bool:
    norms = torch._foreach_norm([value for value in values if value.numel()])
    kinds = {(norm.dtype, norm.device) for norm in norms}
    return all(
        math.isfinite(torch.stack([n for n in norms if (n.dtype, n.device) == kind]).sum().item()) for kind in kinds
    )
