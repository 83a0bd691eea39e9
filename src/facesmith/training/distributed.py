"""Computations across processes that share a batch, so that the result equals that of one process."""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, nn
from typing_extensions import override


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


class BatchNormSync(LayerSync):
    """Lightning plugin that normalises by the whole batch: torch's `SyncBatchNorm` on GPUs, `SyncedBatchNorm2d` else.

    It has no effect where one process trains.
    """

    def __init__(self) -> None:
        self._torch = TorchSyncBatchNorm()

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        if next(model.parameters()).is_cuda:
            return self._torch.apply(model)
        for layer in model.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = SyncedBatchNorm2d  # the same weights and statistics, other arithmetic
        return model

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if isinstance(layer, SyncedBatchNorm2d):
                layer.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
        return self._torch.revert(model)


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the batch of all processes, on any device.

    `torch.nn.SyncBatchNorm` does the same for GPUs only. Every process must hold an equal share of the batch.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and _is_distributed()):
            return super().forward(input)
        x = input.float()
        mean, square = _AllReduceMean.apply(torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]))
        variance = (square - mean.square()).clamp_min(0)
        self._update_statistics(mean.detach(), variance.detach(), x[:, 0].numel() * dist.get_world_size())
        scale = (variance + self.eps).rsqrt() * self.weight
        normalised: Tensor = (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return normalised.to(input.dtype)

    def _update_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class _AllReduceMean(torch.autograd.Function):
    """Mean over processes that gradients flow through; DDP averages the processes' gradients after it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return all_reduce_mean(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return all_reduce_mean(gradients[0].contiguous())


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
