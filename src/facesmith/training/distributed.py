"""Computations across processes that share a batch, so that the result equals that of one process."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from timm.layers.drop import DropPath
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from typing_extensions import override

from facesmith.errors import UserError

T = TypeVar("T", Tensor, dict[str, Tensor])

_alone = ContextVar("alone", default=False)


def all_reduce_mean(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, without gradient; the tensor itself where there is one process.

    Divide a loss by this mean of the normaliser instead of by the process's own: then the mean of the processes' losses
    is the loss one process would compute on the whole batch.

    Args:
        value: Any shape, the same in every process.
    """
    if not _is_distributed():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def sum_over_processes(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, through which gradients flow; itself where there is one process.

    Every process must go on to the same loss: DDP averages the gradients, so that they become one process's.

    Args:
        value: Any shape, the same in every process.
    """
    if not _is_distributed():
        return value
    mean: Tensor = _AllReduceMean.apply(value)
    return mean * dist.get_world_size()


def gather_rows(batch: T) -> T:
    """Return the rows of all processes, of which each holds every n-th, in the order of the whole batch.

    Gradients flow back to the process that a row came from. Where every process goes on to the same loss of the whole
    batch, DDP, which averages gradients, gives those of one process.

    Args:
        batch: A tensor (N, ...), or several by name; N the same in every process.
    """
    if not _is_distributed():
        return batch
    if isinstance(batch, dict):
        return {name: gather_rows(value) for name, value in batch.items()}
    if batch.dtype == torch.bool:
        return gather_rows(batch.to(torch.uint8)).to(torch.bool)
    gathered: Tensor = _GatherRows.apply(batch)
    return gathered


def own_rows(batch: T) -> T:
    """Return every n-th row of a whole batch: those of this process among n; all of them where there is one process.

    Args:
        batch: A tensor (N, ...), or several by name.
    """
    if not _is_distributed():
        return batch
    if isinstance(batch, dict):
        return {name: own_rows(value) for name, value in batch.items()}
    return batch[dist.get_rank() :: dist.get_world_size()]


def measure_once(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure in the first process and return the figures in all of them, so that all choose the same best checkpoint.

    Meanwhile the first process computes as if it were the only one: what is shared within a step, such as the mean of
    `all_reduce_mean`, would otherwise wait for processes that never come to it.

    Args:
        measure: Returns figures by name. Every process must call this, the first one measures.
    """
    if not _is_distributed():
        return measure()
    figures: list[dict[str, float]] = [{}]
    if dist.get_rank() == 0:
        before = _alone.set(True)
        try:
            figures = [measure()]
        finally:
            _alone.reset(before)
    dist.broadcast_object_list(figures)
    return figures[0]


def require_even_shares(batch_size: int, processes: int) -> None:
    """Refuse a batch that cannot be shared evenly: every process must hold as many rows.

    Raises:
        UserError: It cannot; names a size that can.
    """
    if batch_size % processes:
        raise UserError(
            f"data.batch_size={batch_size}: is shared by {processes} processes; give a multiple of it, "
            f"such as data.batch_size={processes * max(1, round(batch_size / processes))}"
        )


class WholeBatchLayers(LayerSync):
    """Lightning plugin that makes layers see the whole batch; it has no effect where one process trains.

    Batch normalisation takes its mean and variance, and paths are dropped as one process would drop them. torch's own
    `SyncBatchNorm` needs a GPU, and loses the activation that timm's batch normalisation holds.
    """

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if type(layer) in _SYNCED:
                layer.__class__ = _SYNCED[type(layer)]  # the same weights and statistics, other arithmetic
        return model

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        plain = {synced: given for given, synced in _SYNCED.items()}
        for layer in model.modules():
            if type(layer) in plain:
                layer.__class__ = plain[type(layer)]
        return model


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the batch of all processes, on any device.

    Every process must hold an equal share of the batch.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        return _normalise(self, input) if self.training and _is_distributed() else super().forward(input)


class SyncedBatchNormAct2d(BatchNormAct2d):
    """timm's batch normalisation with an activation, by the whole batch as `SyncedBatchNorm2d`."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and _is_distributed()):
            return super().forward(x)  # type: ignore[no-untyped-call]
        activated: Tensor = self.act(self.drop(_normalise(self, x)))
        return activated


class SyncedDropPath(DropPath):
    """Stochastic depth whose random numbers are drawn for the batch of all processes."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.drop_prob and _is_distributed()):
            return super().forward(x)  # type: ignore[no-untyped-call]
        rows = len(x) * dist.get_world_size()
        keep = 1 - self.drop_prob
        kept = x.new_empty((rows,) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        if keep > 0 and self.scale_by_keep:
            kept.div_(keep)
        return x * own_rows(kept)


_SYNCED: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.BatchNorm2d: SyncedBatchNorm2d,
    BatchNormAct2d: SyncedBatchNormAct2d,
    DropPath: SyncedDropPath,
}


def _normalise(layer: nn.BatchNorm2d, input: Tensor) -> Tensor:
    """Normalise by mean and variance of the whole batch, and update the layer's running statistics."""
    x = input.float()
    mean, square = _AllReduceMean.apply(torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]))
    variance = (square - mean.square()).clamp_min(0)
    _update_statistics(layer, mean.detach(), variance.detach(), x[:, 0].numel() * dist.get_world_size())
    scale = (variance + layer.eps).rsqrt() * layer.weight
    normalised: Tensor = (x - mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]
    return normalised.to(input.dtype)


def _update_statistics(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.momentum is not None
    layer.running_mean.lerp_(mean, layer.momentum)
    layer.running_var.lerp_(variance * count / max(1, count - 1), layer.momentum)
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)


class _AllReduceMean(torch.autograd.Function):
    """Mean over processes that gradients flow through; DDP averages the processes' gradients after it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return all_reduce_mean(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return all_reduce_mean(gradients[0].contiguous())


class _GatherRows(torch.autograd.Function):
    """Rows of all processes, interleaved; a row's gradient is the sum of what all processes want of it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank() :: dist.get_world_size()]


def _is_distributed() -> bool:
    return not _alone.get() and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
