"""What processes that share a batch must agree on, so that they compute what one would."""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, nn
from torch.nn import Module
from typing_extensions import override


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a number without gradient over all processes; the number itself where there is one.

    A sum that a batch's loss is divided by must be the whole batch's: then the mean of the processes' losses is the
    loss one process would have.
    """
    if not _shared():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


class _Mean(torch.autograd.Function):
    """Mean over processes that gradients flow through; processes' gradients are averaged after it, as DDP does."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return mean_over_processes(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return mean_over_processes(gradients[0].contiguous())


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the batch of all processes, on any device.

    torch.nn.SyncBatchNorm does the same for GPUs only. Every process holds an equal share of the batch.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and _shared()):
            return super().forward(input)
        x = input.float()
        mean, square = _Mean.apply(torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]))
        variance = (square - mean.square()).clamp_min(0)
        self._follow(mean.detach(), variance.detach(), x[:, 0].numel() * dist.get_world_size())
        scale = (variance + self.eps).rsqrt() * self.weight
        shown: Tensor = (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return shown.to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def _shared() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class GlobalStatistics(LayerSync):
    """Normalise by the whole batch, whoever holds which part: on GPUs by torch's own layer, elsewhere by ours.

    Without effect where one process trains.
    """

    def __init__(self) -> None:
        self._torch = TorchSyncBatchNorm()

    @override
    def apply(self, model: Module) -> Module:
        if next(model.parameters()).is_cuda:
            return self._torch.apply(model)
        for layer in model.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = GlobalBatchNorm2d  # the same weights and statistics, other arithmetic
        return model

    @override
    def revert(self, model: Module) -> Module:
        for layer in model.modules():
            if isinstance(layer, GlobalBatchNorm2d):
                layer.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
        return self._torch.revert(model)
