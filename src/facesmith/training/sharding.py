"""Training whose weights are spread over the devices, with checkpoints that are those of a single device."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, ParallelStrategy
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from typing_extensions import override

from facesmith.training.lightning_internals import CheckpointPath

_STATE: Final = "state"


class FullyShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2, whose checkpoints are whole: one file, which any number of devices can resume.

    Lightning's own are a folder of shards, or number the optimiser's states by all weights instead of those it trains.
    The module shards itself in `configure_model`, by `shard_blocks`.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    @property
    @override
    def restore_checkpoint_after_setup(self) -> bool:
        return False  # the weights are sharded before, and `on_fit_start` finds callbacks restored

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        return True

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return gather_shards(self.lightning_module.state_dict())

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return gather_shards(ParallelStrategy.optimizer_state(self, optimizer))

    @override
    def load_checkpoint(self, checkpoint_path: CheckpointPath, weights_only: bool | None = None) -> dict[str, Any]:
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        weights = dict(self.lightning_module.named_parameters())
        shards = {name: _shard_like(value, weights.get(name)) for name, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(shards, strict=strict)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, whole in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            shards = {
                number: {name: _shard_like(value, weights[number]) for name, value in state.items()}
                for number, state in whole[_STATE].items()
            }
            optimizer.load_state_dict({**whole, _STATE: shards})


def shard_blocks(module: nn.Module, blocks: Iterable[nn.Module], device: str) -> None:
    """Spread a module's weights over all processes; each block is gathered when it is computed, and let go again.

    Args:
        module: Changed in place; what is outside the blocks is gathered as a whole.
        blocks: Of the module, in any order.
        device: Type of the devices: `cuda`, `cpu`, ...
    """
    mesh: DeviceMesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
    for part in (*blocks, module):
        fully_shard(part, mesh=mesh)


def gather_shards(state: Any) -> Any:
    """Return nested values in which sharded tensors are whole and on the CPU; every process must call it.

    Args:
        state: Such as a state dict; other values are returned as they are.
    """
    return apply_to_collection(state, DTensor, lambda shard: shard.full_tensor().cpu())


def unshard_saved(module: nn.Module) -> None:
    """Make those sharded weights whole that a checkpoint holds, when training is over; every process must call it.

    Args:
        module: Changed in place. Weights that its state dict leaves out stay sharded.
    """
    for name, weight in module.state_dict().items():
        if isinstance(weight, DTensor):
            owner, _, own = name.rpartition(".")
            setattr(module.get_submodule(owner), own, nn.Parameter(weight.full_tensor()))


def _shard_like(value: Any, weight: Tensor | None) -> Any:
    """Return this process's shard of a whole tensor of a weight's shape; anything else as it is."""
    if not (isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape):
        return value
    return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)
