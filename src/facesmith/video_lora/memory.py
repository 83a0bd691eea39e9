"""What a run needs of memory and disk, told before anything large is loaded."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from facesmith.errors import UserError
from facesmith.video_lora.base import Base

log = logging.getLogger(__name__)

_OVERHEAD = 1.5e9  # the CUDA context, cuBLAS workspaces and fragmentation


@dataclass(frozen=True)
class Needs:
    """Bytes: the base's weights, mapper and LoRA with gradients and optimiser, activations of one step."""

    base: float
    trained: float
    activations: float

    @property
    def total(self) -> float:
        """Everything together."""
        return self.base + self.trained + self.activations


def training_needs(
    base: Base,
    *,
    frames: int,
    height: int,
    width: int,
    batch: int,
    rank: int,
    itemsize: int,
    stored: int,
    checkpointing: bool,
) -> Needs:
    """Estimate what training needs; itemsize: bytes a number computed with; stored: bytes a frozen weight.

    A block keeps about 34 numbers a token and width (attention fused), with checkpointing one and, for the block under
    way, all; the feed-forward layer's are counted by its own width.
    """
    config = base.transformer_config
    width_of = config["num_attention_heads"] * config["attention_head_dim"]
    blocks = config["num_layers"] + len(config["vace_layers"])
    weights = blocks * (8 * width_of**2 + 2 * width_of * config["ffn_dim"])
    _, patch_height, patch_width = config["patch_size"]
    cells = (height // base.side // patch_height) * (width // base.side // patch_width)
    tokens = ((frames - 1) // base.times + 1) * cells * batch
    a_block = tokens * (20 * width_of + 3 * config["ffn_dim"]) * itemsize
    kept = tokens * width_of * itemsize * 2
    activations = blocks * kept + a_block if checkpointing else blocks * a_block
    lora = blocks * rank * (16 * width_of + 2 * (width_of + config["ffn_dim"]))
    return Needs(weights * stored, lora * 16, activations)


def compute_dtype(chosen: str) -> torch.dtype:
    """Resolve `auto`: bfloat16 on a GPU that has it, float32 elsewhere."""
    if chosen == "auto":
        gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if gpu else torch.float32
    found: torch.dtype = getattr(torch, chosen)
    return found


def tell_needs(base: Base, model: Any, data: Any) -> None:
    """Say what training needs and what there is.

    Raises:
        UserError: it cannot fit; says what to try.
    """
    itemsize = compute_dtype(model.base_dtype).itemsize
    gpu = torch.cuda.is_available()
    needs = training_needs(
        base,
        frames=data.num_frames,
        height=data.height,
        width=data.width,
        batch=data.batch_size,
        rank=model.lora.rank,
        itemsize=itemsize,
        stored=1 if model.base_storage == "float8" else itemsize,
        checkpointing=model.gradient_checkpointing,
    )
    wanted = needs.total + (_OVERHEAD if gpu else 0)
    free = torch.cuda.mem_get_info()[0] if gpu else psutil.virtual_memory().available
    kind = "GPU memory" if gpu else "memory"
    line = (
        f"needs about {_gigabytes(wanted)} of {kind} for {data.num_frames} frames at {data.height}x{data.width}; "
        f"{_gigabytes(free)} are free"
    )
    if wanted <= free:
        log.info("%s", line)
        return
    tries = []
    if not model.gradient_checkpointing:
        tries.append("model.gradient_checkpointing=true")
    if model.base_storage != "float8" and gpu:
        tries.append("model.base_storage=float8")
    if data.batch_size > 1:
        tries.append("data.batch_size=1")
    fewer = max(5, math.floor(data.num_frames * free / wanted) // 4 * 4 + 1)
    tries.append(f"data.num_frames={min(fewer, data.num_frames)} or a smaller data.height and data.width")
    raise UserError(f"model.base={base.name}: {line}; try {', '.join(tries)}")


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
