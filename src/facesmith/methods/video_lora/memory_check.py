"""What a job needs of memory and disk, held against what there is before anything large is loaded."""

import logging
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import psutil  # type: ignore[import-untyped]
import torch

from facesmith.errors import UserError
from facesmith.methods.video_lora import memory_estimate as estimate
from facesmith.methods.video_lora.base import Base, Storage
from facesmith.methods.video_lora.memory_estimate import Adapter, Shape

log = logging.getLogger(__name__)

_OVERHEAD: Final = 1.5e9  # the CUDA context, cuBLAS workspaces and fragmentation
_SHORTEST: Final = 5  # frames
_CGROUP: Final = Path("/sys/fs/cgroup")

Offload = Literal["none", "model", "group", "sequential", "disk"]
Stages = dict[str, float]


def compute_dtype(chosen: str) -> torch.dtype:
    """Resolve `auto`: bfloat16 on a GPU that has it, float32 elsewhere."""
    if chosen == "auto":
        gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if gpu else torch.float32
    found: torch.dtype = getattr(torch, chosen)
    return found


def free_memory() -> float:
    """Return bytes that this process can still have of the computer's memory: limits of shell and container count."""
    free = [float(psutil.virtual_memory().available)]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        free.append(limit - psutil.Process().memory_info().vms)
    most, used = (_CGROUP / name for name in ("memory.max", "memory.current"))
    if most.is_file() and (text := most.read_text().strip()) != "max":
        free.append(float(text) - float(used.read_text()))
    return max(0.0, min(free))


def text_encoder_place(base: Base) -> tuple[torch.device, torch.dtype]:
    """Say where the text encoder runs and with what: on the GPU where it fits, else where there is room.

    Raises:
        UserError: there is none.
    """
    count = estimate.stored_numbers(base.folder / "text_encoder")
    if torch.cuda.is_available():
        dtype = compute_dtype("auto")
        if count * dtype.itemsize + _OVERHEAD < torch.cuda.mem_get_info()[0]:
            return torch.device("cuda"), dtype
    free = free_memory()
    for dtype in (torch.float32, torch.bfloat16):
        if count * dtype.itemsize < free:
            return torch.device("cpu"), dtype
    raise UserError(
        f"model.base={base.name}: its text encoder needs {gigabytes(count * 2)} of memory, {gigabytes(free)} are free; "
        "close what you can, or encode on a larger computer and bring its cache along"
    )


def tell_training(base: Base, model: Any, data: Any) -> None:
    """Say what training needs and what there is. model, data: settings of `video_lora`.

    Raises:
        UserError: it cannot fit; says what to try.
    """
    mapper = model.mapper
    widths = [mapper.embedding_size, *mapper.widths, mapper.tokens * base.text_width]
    adapter = Adapter(
        model.lora.rank,
        tuple(model.lora.targets),
        model.lora.vace_blocks,
        model.injection == "decoupled",
        sum(one * other for one, other in pairwise(widths)),
    )
    dtype = compute_dtype(model.base_dtype)
    gpu = torch.cuda.is_available()
    chosen = {
        "shape": Shape(data.num_frames, data.height, data.width, data.batch_size),
        "storage": model.base_storage,
        "checkpointing": model.gradient_checkpointing,
        "offloaded": model.offload == "activations" and gpu,
    }

    def stages(shape: Shape, storage: Storage, checkpointing: bool, offloaded: bool) -> Stages:
        step = estimate.step_bytes(
            base,
            shape,
            adapter,
            dtype=dtype,
            storage=storage,
            checkpointing=checkpointing,
            offloaded=offloaded,
            optimizer=model.optimizer.kind,
        )
        one = replace(shape, batch=1)
        found = {"steps": step, "the VAE": estimate.codec_bytes(base, one, "encode")}
        if model.validation.videos:
            several = replace(shape, batch=len(model.validation.face_scales))
            found["validation videos"] = (
                estimate.weights_bytes(base, dtype=dtype, storage=storage)
                + estimate.learning_bytes(base, adapter, model.optimizer.kind)
                + max(
                    estimate.passing_bytes(base, several, dtype=dtype),
                    estimate.codec_bytes(base, one, "decode"),
                )
            )
        return found

    def fits(**changed: Any) -> bool:
        return _most(stages(**{**chosen, **changed}))[1] + _overhead(gpu) <= _free(gpu)

    kept: dict[str, Any] = {}
    tries = []
    wishes: list[tuple[bool, str, dict[str, Any]]] = [
        (not model.gradient_checkpointing, "model.gradient_checkpointing=true", {"checkpointing": True}),
        (data.batch_size > 1, "data.batch_size=1", {"shape": replace(chosen["shape"], batch=1)}),
        (model.base_storage == "as_computed", "model.base_storage=float8", {"storage": "float8"}),
        (gpu and model.offload == "none", "model.offload=activations", {"offloaded": True}),
    ]
    for offered, key, change in wishes:
        if offered and not fits(**kept):
            kept.update(change)
            tries.append(key)
    _tell(
        f"model.base={base.name}",
        stages(**chosen),
        chosen["shape"],
        gpu,
        tries,
        lambda shape: fits(**{**kept, "shape": replace(shape, batch=1)}),
        base.times,
        "data.",
    )


def tell_drawing(base: Base, shape: Shape, *, storage: Storage, offload: Offload, setting: str) -> None:
    """Say what drawing a clip needs and what there is. setting: what to name in front.

    Raises:
        UserError: it cannot fit; says what to try.
    """
    gpu, dtype = torch.cuda.is_available(), compute_dtype("auto")

    def stages(shape: Shape, storage: Storage, offload: Offload) -> Stages:
        codec = estimate.codec_bytes(base, shape, "decode")
        weights = estimate.weights_bytes(base, dtype=dtype, storage=storage)
        passing = estimate.passing_bytes(base, shape, dtype=dtype)
        if offload == "none":
            return {"the VAE": weights + codec, "drawing": weights + passing}
        here = weights if offload == "model" else weights / base.transformer_config["num_layers"]
        return {"the VAE": codec, "drawing": here + passing}

    def fits(shape: Shape, storage: Storage, offload: Offload) -> bool:
        return _most(stages(shape, storage, offload))[1] + _overhead(gpu) <= _free(gpu)

    tries, kept = [], (storage, offload)
    wishes: list[tuple[bool, str, tuple[Storage, Offload]]] = [
        (gpu and offload == "none", "task.offload=model", (storage, "model")),
        (gpu and offload in ("none", "model"), "task.offload=group", (storage, "group")),
        (not gpu and storage == "as_computed", "task.base_storage=float8", ("float8", offload)),
    ]
    for offered, key, change in wishes:
        if offered and not fits(shape, *kept):
            kept, tries = change, [key]
    _tell(
        setting,
        stages(shape, storage, offload),
        shape,
        gpu,
        tries,
        lambda other: fits(other, *kept),
        base.times,
        "task.",
    )


def tell_room(folder: Path, wanted: float, what: str, setting: str) -> None:
    """Make sure that files find room.

    Raises:
        UserError: they do not.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise UserError(
            f"{setting}={folder}: {what} take about {gigabytes(wanted)}, {gigabytes(free)} are free on that disk; make "
            "room, or give a folder elsewhere"
        )
    if wanted > 1e9:
        log.info("%s: %s take about %s of disk, %s are free", folder, what, gigabytes(wanted), gigabytes(free))


def checkpoints_to_come(trainer: Any) -> dict[Path, int]:
    """Say how many checkpoints a training keeps at most, by folder; one more is there while it is written."""
    found: dict[Path, int] = {}
    for callback in trainer.checkpoint_callbacks:
        if getattr(callback, "dirpath", None) is not None and hasattr(callback, "save_top_k"):
            every = getattr(callback, "_every_n_epochs", 1) or 1
            count = callback.save_top_k if callback.save_top_k >= 0 else -(-(trainer.max_epochs or 0) // every)
            folder = Path(callback.dirpath)
            found[folder] = found.get(folder, 2) + count
    return found


def gigabytes(count: float) -> str:
    """Write a number of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _tell(
    setting: str,
    stages: Stages,
    shape: Shape,
    gpu: bool,
    tries: list[str],
    fits: Callable[[Shape], bool],
    times: int,
    prefix: str,
) -> None:
    stage, wanted = _most(stages)
    wanted += _overhead(gpu)
    free = _free(gpu)
    kind = "GPU memory" if gpu else "memory"
    line = (
        f"needs about {gigabytes(wanted)} of {kind} for {shape.frames} frames at {shape.height}x{shape.width} "
        f"({stage}), you have {gigabytes(free)}"
    )
    if wanted <= free:
        log.info("%s", line)
        return
    if not fits(shape):
        lengths = range(shape.frames - times, _SHORTEST - 1, -times)
        shorter = next((frames for frames in lengths if fits(replace(shape, frames=frames))), None)
        tries = [*tries, f"{prefix}num_frames={shorter}" if shorter else f"a smaller {prefix}height and {prefix}width"]
    raise UserError(f"{setting}: {line}; try {', '.join(tries)}")


def _most(stages: Stages) -> tuple[str, float]:
    return max(stages.items(), key=lambda item: item[1])


def _overhead(gpu: bool) -> float:
    return _OVERHEAD if gpu else 0.0


def _free(gpu: bool) -> float:
    return float(torch.cuda.mem_get_info()[0]) if gpu else free_memory()
