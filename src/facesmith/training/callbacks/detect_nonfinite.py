"""NaN and infinity in loss, gradients or weights: stop before they do harm, or skip the step."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from facesmith.errors import UserError
from facesmith.training.callbacks.protocols import HasLossParts

log = logging.getLogger(__name__)

_MAX_HALVINGS: Final = 24  # of float16's loss scale in a row: from 65536 to .004, where overflow has another reason
_MAX_NAMES: Final = 4


class DivergedError(UserError):
    """Loss, gradients or weights hold NaN or infinity."""


class _Losses(NamedTuple):
    loss: Tensor
    parts: Mapping[str, Tensor]


class DetectNonFinite(Callback):
    """Check loss and gradients before each optimiser step; stop before a bad one, or skip and count it.

    It costs one norm per tensor and one number read for all. What is not finite never reaches weights and running
    statistics, and a checkpoint that holds it is refused, so the newest checkpoint is a good one. Micro-batches of an
    accumulated step are checked together. Where float16 scales its loss, overflowing gradients are normal and left to
    the scaler, until it has halved its scale many times in a row. Processes decide together.

    Args:
        on_nonfinite: `stop` raises `DivergedError`; `skip` skips the step and warns.
        max_skipped: Steps that may be skipped in a run; one more stops it.
        folder: Of the checkpoints, of which the message names the newest.
    """

    def __init__(self, on_nonfinite: Literal["stop", "skip"], max_skipped: int, folder: Path) -> None:
        self.on_nonfinite, self.max_skipped, self.folder = on_nonfinite, max_skipped, folder
        self.skipped = 0
        self._halvings = 0
        self._losses: list[_Losses] = []  # of the micro-batches since the last optimiser step
        self._batch: object = None
        self._statistics: list[Tensor] = []
        self._good_statistics: list[Tensor] = []

    @property
    def state_key(self) -> str:
        """Return the name under which checkpoints hold this callback's state: that of earlier versions."""
        return "GuardTraining"

    def state_dict(self) -> dict[str, Any]:
        """Return how many steps were skipped."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self.skipped = state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the running statistics: a bad batch spoils them in its forward pass already."""
        norms = [m for m in pl_module.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
        found = [s for m in norms for s in (m.running_mean, m.running_var) if s is not None]
        self._statistics, self._good_statistics = found, [s.detach().clone() for s in found]
        self._losses = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the batch, to be examined when something is wrong."""
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss and its parts; nothing is read yet, so a GPU is not waited for."""
        parts = pl_module.loss_parts if isinstance(pl_module, HasLossParts) else {}
        self._losses.append(_Losses(loss.detach(), parts))

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Decide whether this step is taken.

        Raises:
            DivergedError: A value is not finite, and `on_nonfinite` or `max_skipped` requires to stop.
        """
        losses, self._losses = self._losses, []
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        bad = bool(gradients) and not _all_finite(gradients)
        bad = bad or not all(math.isfinite(one.loss.item()) for one in losses)
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if not bad:
            self._halvings = 0
            if self._statistics:
                torch._foreach_copy_(self._good_statistics, self._statistics)
            return
        if self._statistics:
            torch._foreach_copy_(self._statistics, self._good_statistics)
        culprit = self._describe_culprit(pl_module, losses)
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            self._check_scaler(trainer, culprit)
            return
        self.skipped += 1
        if self.on_nonfinite == "stop" or self.skipped > self.max_skipped:
            raise DivergedError(self._describe(trainer, optimizer, culprit))
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        log.warning(
            "step %d: %s; the step is skipped (%d of callbacks.guard.max_skipped=%d)",
            trainer.global_step,
            culprit,
            self.skipped,
            self.max_skipped,
        )

    @torch.no_grad()
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose weights are not finite.

        Raises:
            DivergedError: They are not.
        """
        weights = {**dict(_named_floats(pl_module)), **_float_tensors(checkpoint["state_dict"])}
        if weights and not _all_finite(weights.values()):
            names = ", ".join([name for name, value in weights.items() if not _all_finite([value])][:_MAX_NAMES])
            raise DivergedError(
                f"step {trainer.global_step}: the weights {names} are not finite, so no checkpoint is written; "
                f"{self._describe_last_checkpoint()}"
            )

    def _check_scaler(self, trainer: Trainer, culprit: str) -> None:
        self._halvings += 1
        if self._halvings > _MAX_HALVINGS:
            raise DivergedError(
                f"step {trainer.global_step}: {culprit} for {self._halvings} steps in a row, however small float16's "
                f"loss scale; {self._describe_last_checkpoint()}; try trainer.precision=bf16-mixed or 32-true"
            )

    def _describe_culprit(self, module: LightningModule, losses: list[_Losses]) -> str:
        """Describe what is not finite, the earliest in the chain from batch to gradient."""
        bad = [name for name, value in _named_floats(module) if not _all_finite([value])]
        if bad:
            return f"the weights {', '.join(bad[:_MAX_NAMES])} were not finite before the step"
        data = [name for name, value in _float_tensors(self._batch).items() if not _all_finite([value])]
        of_batch = f" (the batch's {', '.join(data[:_MAX_NAMES])} too)" if data else ""
        for one in losses:
            parts = {name: float(value) for name, value in one.parts.items() if not _all_finite([value])}
            if parts:
                values = ", ".join(f"{name} is {value}" for name, value in list(parts.items())[:_MAX_NAMES])
                return f"{values}{of_batch}"
            if not _all_finite([one.loss]):
                return f"the loss is {float(one.loss)}{of_batch}"
        groups: dict[str, Tensor] = {}
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and not _all_finite([parameter.grad]):
                groups.setdefault(".".join(name.split(".")[:2]), parameter.grad)
        if not groups:
            return "another process has a value that is not finite"
        return f"the loss is finite, the gradient of {', '.join(list(groups)[:_MAX_NAMES])} is not"

    def _describe(self, trainer: Trainer, optimizer: Optimizer, culprit: str) -> str:
        rate = optimizer.param_groups[0]["lr"]
        start = optimizer.param_groups[0].get("initial_lr", rate)
        tries = [f"model.optimizer.lr={start / 2:.3g} (now {start:.3g})"]
        clip = trainer.gradient_clip_val
        if clip is None or clip > 1:
            tries.append(f"trainer.gradient_clip_val=1.0 (now {clip})")
        if str(trainer.precision) != "32-true":
            tries.append(f"trainer.precision=32-true (now {trainer.precision})")
        skipped = f" and {self.max_skipped} steps were skipped before" if self.on_nonfinite == "skip" else ""
        go_on = (
            f"a higher callbacks.guard.max_skipped (now {self.max_skipped})"
            if self.on_nonfinite == "skip"
            else "callbacks.guard.on_nonfinite=skip"
        )
        tries[-1] += f", or {go_on}"
        return (
            f"step {trainer.global_step} (epoch {trainer.current_epoch}): {culprit}{skipped}, at learning rate "
            f"{rate:.3g}; the step was not taken; {self._describe_last_checkpoint()}; try {', '.join(tries)}"
        )

    def _describe_last_checkpoint(self) -> str:
        found = sorted(self.folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        return f"last good checkpoint: {found[-1]}" if found else "no checkpoint was written yet"


def _named_floats(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            yield name, value.detach()


def _float_tensors(values: object) -> dict[str, Tensor]:
    pairs = values.items() if isinstance(values, Mapping) else ()
    return {str(name): value for name, value in pairs if isinstance(value, Tensor) and value.is_floating_point()}


def _all_finite(values: Iterable[Tensor]) -> bool:
    local = [value.to_local() if isinstance(value, DTensor) else value for value in values]  # of shards this process's
    norms = torch._foreach_norm([value for value in local if value.numel()])
    kinds = {(norm.dtype, norm.device) for norm in norms}
    return all(
        math.isfinite(torch.stack([n for n in norms if (n.dtype, n.device) == kind]).sum().item()) for kind in kinds
    )
