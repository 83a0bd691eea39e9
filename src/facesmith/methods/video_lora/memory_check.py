"""Check that a job fits memory and disk, before anything large is loaded."""

import ctypes
import logging
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import psutil
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from facesmith.errors import UserError
from facesmith.methods.video_lora import memory_estimate as estimate
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.config import VideoLoraDataModuleConfig, VideoLoraModuleConfig
from facesmith.methods.video_lora.memory_estimate import AdapterSize, ClipShape, FrozenWeights
from facesmith.methods.video_lora.quantization import Storage, compute_dtype
from facesmith.progress import format_duration

log = logging.getLogger(__name__)

_OVERHEAD: Final = 1.5e9  # the CUDA context, cuBLAS workspaces and fragmentation
_LIBRARIES: Final = 2e7  # bytes, of a process that computes on a CPU
_THREAD: Final = 1.2e7  # bytes, of each of its threads
_CONVOLUTION: Final = 1.14  # times what a convolution's tensors take: on a CPU oneDNN works on copies
_M_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h
_LARGE: Final = 1 << 20  # bytes
_PLENTY: Final = 3.5  # times what the tensors take: the most that a process was seen to take where freed memory is kept
_SHORTEST: Final = 5  # frames
_RTX_4090: Final = 8e13  # operations a second in bfloat16: half of what the maker states
_CGROUP: Final = Path("/sys/fs/cgroup")

Offload = Literal["none", "model", "group", "sequential", "disk"]


def check_training_memory(base: Base, model: VideoLoraModuleConfig, data: VideoLoraDataModuleConfig) -> None:
    """Log what training needs of memory and what there is.

    Args:
        base: That is trained on.
        model: Settings of the module.
        data: Settings of the data.

    Raises:
        UserError: it cannot fit; names settings that would.
    """
    mapper = model.mapper
    widths = [mapper.embedding_size, *mapper.widths, mapper.tokens * base.text_width]
    adapter = AdapterSize(
        model.lora.rank,
        tuple(model.lora.targets),
        model.lora.vace_blocks,
        model.injection == "decoupled",
        sum(one * other for one, other in pairwise(widths)),
        model.pose_branch_gradients and model.gate_tokens,
    )
    dtype, gpu = compute_dtype(model.base_dtype), torch.cuda.is_available()

    def stages(job: _Job) -> dict[str, float]:
        frozen = FrozenWeights(dtype, job.storage, job.streamed)
        weights = estimate.weights_bytes(base, frozen)
        step = estimate.training_step_bytes(
            base,
            job.shape,
            adapter,
            frozen,
            checkpointing=job.checkpointing,
            offloaded=job.offload_activations,
            optimizer=job.optimizer,
        )
        one = replace(job.shape, batch=1)
        found = {"steps": step, "the VAE": _vae_bytes(base, one, "encode")}
        if data.prior is not None:
            found["the base's own clips"] = weights + estimate.activation_bytes(base, one, frozen)
        if model.validation.videos:
            several = replace(job.shape, batch=len(model.face_scales))
            found["validation videos"] = (
                weights
                + estimate.trainable_bytes(base, adapter, job.optimizer)
                + max(
                    estimate.activation_bytes(base, several, frozen),
                    _vae_bytes(base, one, "decode"),
                )
            )
        return found

    photos = data.references.most if data.references else 0
    shape = ClipShape(data.num_frames, data.height, data.width, data.batch_size, photos, data.text_length)
    job = _Job(
        shape,
        model.base_storage,
        checkpointing=model.gradient_checkpointing,
        offload_activations=model.offload == "activations" and gpu,
        optimizer=model.optimizer.kind,
        streamed=model.stream_blocks and gpu,
    )
    if model.stream_blocks and not gpu:
        log.warning("model.stream_blocks=true: there is no GPU whose memory it could spare")
    room = free_memory()
    waiting = estimate.waiting_bytes(base, FrozenWeights(dtype, model.base_storage, job.streamed))
    if waiting > room:
        raise UserError(
            f"model.stream_blocks=true: {format_bytes(waiting)} of weights wait in CPU memory, {format_bytes(room)} "
            "are free; try model.base_storage=float8, or nf4 without streaming"
        )
    remedies = []
    if not model.gradient_checkpointing:
        remedies.append(_Remedy("model.gradient_checkpointing", "true", {"checkpointing": True}))
    if data.batch_size > 1:
        remedies.append(_Remedy("data.batch_size", "1", {"shape": replace(shape, batch=1)}))
    if model.base_storage == "as_computed":
        remedies.append(_Remedy("model.base_storage", "float8", {"storage": "float8"}))
    if gpu and model.offload == "none":
        remedies.append(_Remedy("model.offload", "activations", {"offload_activations": True}))
    movable = model.base_storage in ("as_computed", "float8")
    halved = FrozenWeights(dtype, "float8", streamed=True)
    if gpu and movable and not job.streamed and estimate.waiting_bytes(base, halved) < room:
        remedies.append(_Remedy("model.stream_blocks", "true", {"streamed": True}))
    elif gpu and not job.streamed and model.base_storage != "nf4":
        remedies.append(_Remedy("model.base_storage", "nf4", {"storage": "nf4"}))
    if gpu and model.optimizer.kind == "adamw":
        remedies.append(_Remedy("model.optimizer.kind", "adamw_8bit", {"optimizer": "adamw_8bit"}))
    _check_memory(f"{base.setting}={base.name}", base, job, stages, remedies, "data")


def describe_duration(base: Base, shape: ClipShape, *, checkpointing: bool, steps: int) -> str:
    """Describe how long a training takes on a common GPU, from counted operations.

    Args:
        base: That is trained on.
        shape: Of a batch.
        checkpointing: Whether blocks are recomputed in the backward pass.
        steps: Optimiser steps.
    """
    operations = estimate.step_operations(base, shape, checkpointing=checkpointing)
    seconds = steps * operations / _RTX_4090
    return (
        f"{steps} steps of {operations / 1e12:.3g} TFLOP: about {format_duration(seconds)} on an RTX 4090 "
        f"({_RTX_4090 / 1e12:.0f} TFLOPS), without validations"
    )


def check_generation_memory(base: Base, shape: ClipShape, *, storage: Storage, offload: Offload, setting: str) -> None:
    """Log what generating a clip needs of memory and what there is.

    Args:
        base: That generates.
        shape: Of the clip.
        storage: Type that the transformer's weights are stored in.
        offload: What waits outside the GPU's memory.
        setting: Key and value that an error begins with.

    Raises:
        UserError: it cannot fit; names settings that would.
    """
    gpu, dtype = torch.cuda.is_available(), compute_dtype("auto")

    def stages(job: _Job) -> dict[str, float]:
        vae = _vae_bytes(base, job.shape, "decode")
        frozen = FrozenWeights(dtype, job.storage)
        weights = estimate.weights_bytes(base, frozen)
        activations = estimate.activation_bytes(base, job.shape, frozen)
        if job.offload == "none":
            return {"the VAE": weights + vae, "sampling": weights + activations}
        here = weights if job.offload == "model" else weights / base.transformer_config["num_layers"]
        return {"the VAE": vae, "sampling": here + activations}

    remedies = []
    if gpu and offload == "none":
        remedies.append(_Remedy("task.offload", "model", {"offload": "model"}))
    if gpu and offload in ("none", "model"):
        remedies.append(_Remedy("task.offload", "group", {"offload": "group"}))
    if not gpu and storage == "as_computed":
        remedies.append(_Remedy("task.base_storage", "float8", {"storage": "float8"}))
    _check_memory(setting, base, _Job(shape, storage, offload=offload), stages, remedies, "task")


def check_disk_space(folder: Path, wanted: float, what: str, setting: str) -> None:
    """Check that files have room on the disk.

    Args:
        folder: Where they go; it need not exist yet.
        wanted: Bytes.
        what: The files, in words.
        setting: Key that named the folder.

    Raises:
        UserError: the disk is too full.
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if wanted > free:
        raise UserError(
            f"{setting}={folder}: {what} take about {format_bytes(wanted)}, {format_bytes(free)} are free on that "
            "disk; make room, or give a folder elsewhere"
        )
    if wanted > 1e9:
        log.info("%s: %s take about %s of disk, %s are free", folder, what, format_bytes(wanted), format_bytes(free))


def place_text_encoder(base: Base) -> tuple[torch.device, torch.dtype]:
    """Choose where the text encoder runs and in which type: on the GPU where it fits, else where there is room.

    Raises:
        UserError: it fits nowhere.
    """
    count = estimate.count_stored_weights(base.folder / "text_encoder")
    if torch.cuda.is_available():
        dtype = compute_dtype("auto")
        if count * dtype.itemsize + _OVERHEAD < torch.cuda.mem_get_info()[0]:
            return torch.device("cuda"), dtype
    free = free_memory()
    for dtype in (torch.float32, torch.bfloat16):
        if count * dtype.itemsize < free:
            return torch.device("cpu"), dtype
    raise UserError(
        f"{base.setting}={base.name}: its text encoder needs {format_bytes(count * 2)} of memory, {format_bytes(free)} "
        "are free; close other programs, or encode on a larger computer and copy its cache (data.cache) here"
    )


def process_overhead(base: Base, shape: ClipShape) -> float:
    """Estimate what a process takes beside its tensors: buffers of MKL and oneDNN, and Python's objects.

    Args:
        base: Whose transformer computes.
        shape: Of the batch.
    """
    config = base.transformer_config
    width = config["num_attention_heads"] * config["attention_head_dim"]
    embedded = 4.0 * width * estimate.sequence_length(base, shape)  # oneDNN keeps a copy
    return _LIBRARIES + _THREAD * torch.get_num_threads() + embedded


def _vae_bytes(base: Base, shape: ClipShape, what: Literal["encode", "decode"]) -> float:
    """Estimate what the VAE takes on this computer, as of `memory_estimate.vae_bytes`."""
    return estimate.vae_bytes(base, shape, what) * (1.0 if torch.cuda.is_available() else _CONVOLUTION)


def return_freed_memory() -> None:
    """Let the C library give large freed tensors back to the system at once.

    glibc raises the size from which it does so to that of what is freed, up to 32 MiB; smaller tensors then leave holes
    between others, and a process takes up to three times the memory of its tensors. Giving back costs time: steps of a
    small transformer took a third more on a CPU.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def free_memory() -> float:
    """Return the bytes of memory that this process can still use; limits of shell and container count."""
    free = [float(psutil.virtual_memory().available)]
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - psutil.Process().memory_info().vms)
    most, used = (_CGROUP / name for name in ("memory.max", "memory.current"))
    if most.is_file() and (text := most.read_text().strip()) != "max":
        free.append(float(text) - float(used.read_text()))
    return max(0.0, min(free))


def count_checkpoints(trainer: Trainer) -> dict[Path, int]:
    """Count the checkpoints that a training keeps at most, by folder; one more is there while it is written."""
    found: dict[Path, int] = {}
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is not None:
            every = callback.every_n_epochs or 1
            count = callback.save_top_k if callback.save_top_k >= 0 else -(-(trainer.max_epochs or 0) // every)
            folder = Path(callback.dirpath)
            found[folder] = found.get(folder, 2) + count
    return found


def format_bytes(count: float) -> str:
    """Format a number of bytes as GB or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


@dataclass(frozen=True)
class _Job:
    """Properties of a job that determine its memory."""

    shape: ClipShape
    storage: Storage
    checkpointing: bool = False
    offload_activations: bool = False
    offload: Offload = "none"
    optimizer: str = "adamw"
    streamed: bool = False


@dataclass(frozen=True)
class _Remedy:
    """A setting that saves memory, and what of the job it changes."""

    key: str
    value: str
    change: Mapping[str, Any]


def _check_memory(
    setting: str,
    base: Base,
    job: _Job,
    stages: Callable[[_Job], dict[str, float]],
    remedies: Sequence[_Remedy],
    group: str,
) -> None:
    """Compare the stage that needs most with what is free, and look for remedies where it does not fit.

    On a CPU where memory is scarce, this process gives freed memory back at once from then on.

    Args:
        setting: Key and value that an error begins with.
        base: Whose transformer computes.
        job: As it is configured.
        stages: Bytes that each stage of a job needs.
        remedies: In the order in which they are tried; they add up.
        group: Of the settings of a clip's size: `data` or `task`.
    """
    gpu = torch.cuda.is_available()
    free = float(torch.cuda.mem_get_info()[0]) if gpu else free_memory()

    def overhead(job: _Job) -> float:
        return _OVERHEAD if gpu else process_overhead(base, job.shape)

    def fits(job: _Job) -> bool:
        return max(stages(job).values()) + overhead(job) <= free

    stage, wanted = max(stages(job).items(), key=lambda item: item[1])
    shape, kind = job.shape, "GPU memory" if gpu else "memory"
    line = (
        f"needs about {format_bytes(wanted + overhead(job))} of {kind} for {shape.frames} frames at "
        f"{shape.height}x{shape.width} ({stage}), you have {format_bytes(free)}"
    )
    if fits(job):
        log.info("%s", line)
        if not gpu and _PLENTY * wanted > free:
            return_freed_memory()
        return
    settings: dict[str, str] = {}
    for remedy in remedies:
        if not fits(job):
            job = replace(job, **remedy.change)
            settings[remedy.key] = remedy.value
    suggestions = [f"{key}={value}" for key, value in settings.items()]
    job = replace(job, shape=replace(shape, batch=1))
    if not fits(job):
        lengths = range(shape.frames - base.temporal_compression, _SHORTEST - 1, -base.temporal_compression)
        shorter = next((n for n in lengths if fits(replace(job, shape=replace(job.shape, frames=n)))), None)
        suggestions.append(
            f"{group}.num_frames={shorter}" if shorter else f"a smaller {group}.height and {group}.width"
        )
    raise UserError(f"{setting}: {line}; try {', '.join(suggestions)}")
