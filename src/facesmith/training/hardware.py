"""Precision and devices: choose what is fast here, warn about an unused GPU, refuse devices that cannot help."""

import logging
import os
from collections.abc import Sequence

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, ParallelStrategy

from facesmith.errors import UserError

log = logging.getLogger(__name__)


def choose_precision(precision: str, accelerator: str) -> str:
    """Return the precision for Lightning's `Trainer`; `auto` becomes what `best_precision` chooses.

    Args:
        precision: Of the settings: `auto`, or one of Lightning's.
        accelerator: Lightning's: `auto`, `cpu`, `gpu`, `cuda` or `mps`.
    """
    return precision if precision != "auto" else best_precision(accelerator)[0]


def best_precision(accelerator: str) -> tuple[str, str]:
    """Return what `auto` becomes on this machine, and why.

    bfloat16 on GPUs that have it, float16 on other CUDA GPUs, float32 elsewhere. Autocast on a CPU without bfloat16
    units is 20 times slower, so a CPU always computes in float32.

    Args:
        accelerator: Lightning's: `auto`, `cpu`, `gpu`, `cuda` or `mps`.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "the GPU computes in bfloat16, which has float32's range"
        return "16-mixed", "the GPU has no bfloat16 units; float16 with a scaled loss is fast on it"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true", "Metal is not faster at half precision for networks of this size"
    return "32-true", "autocast on a CPU without bfloat16 units is 20 times slower"


def log_device_hint(accelerator: str) -> None:
    """Log when a GPU is present but unused, or when the run is on a CPU, with the key to change."""
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    if accelerator == "cpu" and gpu:
        log.warning("A GPU is present but unused: trainer.accelerator=auto uses it.")
    elif not gpu:
        threads = torch.get_num_threads()
        log.info(
            "training on %s; with a GPU trainer=gpu_16gb is many times faster",
            "1 CPU thread" if threads == 1 else f"{threads} CPU threads",
        )


def check_devices(trainer: Trainer, module: LightningModule, datamodule: LightningDataModule, in_sweep: bool) -> None:
    """Refuse several devices where they would not help; warn where they are of several kinds.

    Args:
        trainer: Whose `world_size` is the number of devices of all machines.
        module: Its attribute `shards_weights` is true when it can spread its weights over devices.
        datamodule: Its attribute `shares_batches` is true when each process gets its own part of every batch.
        in_sweep: Whether this run is a job of a multirun.

    Raises:
        UserError: A launcher started another number of processes, a module cannot spread its weights, a job of a sweep
            asks for several devices, or the data would give every process the same batches.
    """
    if isinstance(trainer.strategy, FSDPStrategy):
        raise UserError("trainer.strategy=fsdp: is Lightning's first FSDP; use trainer=fsdp")
    if isinstance(trainer.strategy, ModelParallelStrategy) and not getattr(module, "shards_weights", False):
        raise UserError(
            f"trainer=fsdp: {type(module).__name__} fits on one device, so its weights are not spread; "
            "several devices share the batch with trainer=ddp"
        )
    count = trainer.world_size
    _require_launched(trainer)
    if count == 1:
        return
    if in_sweep:
        raise UserError(
            f"trainer.devices: a job of a multirun uses one device, this one asks for {count}; set trainer.devices=1 "
            "(a launcher runs jobs side by side), or train the sweep's best point on all devices, without -m"
        )
    if not getattr(datamodule, "shares_batches", False):
        raise UserError(
            f"trainer.devices: {type(datamodule).__name__} gives every process the same batches, so {count} devices "
            "would train on the same data as one; set trainer.devices=1"
        )
    if isinstance(trainer.accelerator, CUDAAccelerator):
        found = [torch.cuda.get_device_properties(number) for number in trainer.device_ids]
        warning = describe_unequal([(one.name, one.total_memory) for one in found])
        if warning is not None:
            log.warning("%s", warning)


def describe_unequal(devices: Sequence[tuple[str, int]]) -> str | None:
    """Return what devices of several kinds mean for a training; None where they are of one kind.

    Args:
        devices: Name and bytes of memory of each.
    """
    kinds = list(dict.fromkeys(f"{name}, {memory / 2**30:.0f} GiB" for name, memory in devices))
    if len(kinds) < 2:
        return None
    return (
        f"trainer.devices: are of several kinds ({'; '.join(kinds)}), and each gets an equal share of every batch: the "
        "slowest sets the pace, the smallest memory the batch size; trainer.devices=[0,1] chooses by number"
    )


def _require_launched(trainer: Trainer) -> None:
    """Refuse another number of processes than torchrun or SLURM started."""
    started = int(os.environ.get("WORLD_SIZE", trainer.world_size))  # of torchrun
    if started != trainer.world_size:
        raise UserError(
            f"trainer.devices: {trainer.num_devices} on each of {trainer.num_nodes} machines, but {started} processes "
            "were started; give trainer=ddp, and as trainer.devices the processes of one machine"
        )
    if isinstance(trainer.strategy, ParallelStrategy) and trainer.strategy.cluster_environment is not None:
        try:
            trainer.strategy.cluster_environment.validate_settings(trainer.num_devices, trainer.num_nodes)
        except ValueError as error:
            raise UserError(f"trainer.devices: {error}") from None
