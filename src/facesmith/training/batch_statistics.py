"""Batch normalisation over a batch that several processes share."""

from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.nn import Module
from typing_extensions import override

from facesmith.training.processes import GlobalBatchNorm2d


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
