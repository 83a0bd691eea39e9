"""Estimates of the memory and disk that a job takes, from the base's config alone.

Bytes are those of the tensors of diffusers' transformer, counted one by one: in float32 as a CPU computes, in bfloat16
under autocast as a GPU does, where norms and modulation are in float32, so that it saves less than half. Where several
moments of a step may be the peak, each is estimated. benchmarks/video_lora_memory.py compares the estimate with counted
steps of the true layouts and with a process.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import torch
from diffusers import WanVACETransformer3DModel
from safetensors import safe_open

from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.lora import add_lora
from facesmith.methods.video_lora.networks import FaceTransformer, add_face_attention
from facesmith.methods.video_lora.quantization import Storage, bytes_per_weight

# bytes per token, times the width and times the feed-forward's width, by bytes per number
_SAVED: Final = {4: (60.0, 8.0), 2: (50.0, 4.0)}  # of a block with a LoRA, for its backward pass
_POSES: Final = {4: (48.0, 4.0), 2: (36.0, 2.0)}  # of a frozen block that follows the poses
_FIRST: Final = {4: 36.0, 2: 28.0}  # that the first of these does not save: nothing before it has gradients
_BACKWARD: Final = {4: (1.0, 8.0), 2: (15.5, 6.0)}  # gradients under way, and what a block computes with them
_ANSWER: Final = {4: (20.0, 12.0), 2: (14.0, 10.0)}  # of a block in a pass without gradients
_BASE: Final = {4: (24.0, 8.0), 2: (14.0, 4.0)}  # the same without a LoRA
_FACE: Final = 2.0  # numbers of a block's face attention: its answer, and the gradient of it
_INPUTS: Final = 4.0e3  # bytes per token of clip, noise and control; position tables are 8 times a head's width
_TEXT: Final = 12.0  # bytes of a row of text in a block, times the width
_TOKEN_LAYERS: Final = 8  # of a block's layers with a LoRA, those that see all tokens
_WAN_VAE: Final = {"encode": 14.2e3, "decode": 19.6e3}  # per pixel of the frame, at the VAE's own 96 channels
_ADAM: Final = {"adamw": 16.0, "adamw_8bit": 10.0}  # weight, gradient, two moments


@dataclass(frozen=True)
class ClipShape:
    """Clips that are computed at a time.

    Attributes:
        frames: Of each clip.
        height: In px.
        width: In px.
        batch: How many.
        photos: Reference photos in front of each: as many latent frames more.
        text: Rows of the prompt.
    """

    frames: int
    height: int
    width: int
    batch: int = 1
    photos: int = 0
    text: int = 512


@dataclass(frozen=True)
class FrozenWeights:
    """How the base's weights are kept.

    Attributes:
        dtype: Type that they compute in.
        storage: Type that they are stored in.
        streamed: Whether the blocks' wait in CPU memory.
    """

    dtype: torch.dtype
    storage: Storage = "as_computed"
    streamed: bool = False


@dataclass(frozen=True)
class AdapterSize:
    """Trained parameters.

    Attributes:
        rank: Of the LoRA.
        targets: Endings of its layers' names.
        vace_blocks: Whether the VACE branch has a LoRA.
        decoupled: Whether blocks have face attention.
        mapper_weights: Number of the mapper's weights.
        pose_gradients: Whether gradients flow through the branch that follows the poses.
    """

    rank: int
    targets: tuple[str, ...]
    vace_blocks: bool
    decoupled: bool
    mapper_weights: int
    pose_gradients: bool = True


def training_step_bytes(
    base: Base,
    shape: ClipShape,
    adapter: AdapterSize,
    frozen: FrozenWeights,
    *,
    checkpointing: bool,
    offloaded: bool,
    optimizer: str,
) -> float:
    """Estimate the bytes that a training step takes.

    Args:
        base: Whose transformer is adapted.
        shape: Of the batch.
        adapter: What is trained.
        frozen: How the base's weights are kept.
        checkpointing: Whether blocks are recomputed in the backward pass.
        offloaded: Whether activations for the backward pass are moved to CPU memory.
        optimizer: `adamw` or `adamw_8bit`.
    """
    config, itemsize = base.transformer_config, frozen.dtype.itemsize
    through = adapter.vace_blocks or (adapter.pose_gradients and not adapter.decoupled)
    blocks, poses = config["num_layers"], len(config["vace_layers"]) if through else 0
    count, trained = sequence_length(base, shape), count_weights(base, adapter)[1]
    lora = itemsize * adapter.rank * _TOKEN_LAYERS
    block = _per_token(base, _SAVED[itemsize]) + lora + (_FACE * itemsize * _width(base) if adapter.decoupled else 0.0)
    pose = block if adapter.vace_blocks else _per_token(base, _POSES[itemsize])
    working = _per_token(base, _BACKWARD[itemsize])
    text = shape.batch * shape.text * _TEXT * _width(base)
    gradients, of_poses = 4.0 * trained, 0.0
    cast = itemsize * trained if itemsize < 4 else 0.0  # the LoRA as it computes
    if checkpointing:
        each = count * itemsize * _width(base)
        # offloaded inputs are elsewhere, but gradients of the pose branch's answers wait for its backward pass
        kept, of_poses = 0.0 if offloaded else blocks * each, poses * each
        rest = count * (block + working) + 2 * text + cast / blocks
    else:
        kept = count * (blocks * block + poses * pose) + (blocks + poses + 1) * text + cast
        if poses and not adapter.vace_blocks:
            kept -= count * _FIRST[itemsize] * _width(base)
        # meanwhile the base is asked for its answer, without gradients
        rest = count * max(working, _per_token(base, _BASE[itemsize]) + _hints(base, itemsize))
    rest += count * _outside(base)
    weights = weights_bytes(base, frozen) + trainable_bytes(base, adapter, optimizer) - gradients
    if frozen.storage == "float8":  # cast one layer at a time, and kept so for the backward pass
        total, largest = count_block_weights(base)
        weights += itemsize * (largest if checkpointing else total)
    # while gradients of the LoRA come in, block after block, what was kept for them goes; the poses' blocks are last
    return weights + max(kept, gradients) + of_poses + rest


def step_operations(base: Base, shape: ClipShape, *, checkpointing: bool) -> float:
    """Count the floating-point operations of a training step, from the base's config alone.

    Matrix products and attention are counted, forward, backward to the activations (the weights are frozen), and once
    more forward where blocks are recomputed. The LoRA's own are left out.

    Args:
        base: Whose transformer is adapted.
        shape: Of the batch.
        checkpointing: Whether blocks are recomputed in the backward pass.
    """
    config = base.transformer_config
    tokens = sequence_length(base, replace(shape, batch=1))
    blocks = config["num_layers"] + len(config["vace_layers"])
    forward = 2.0 * count_weights(base, None)[0] * tokens + 4.0 * blocks * tokens**2 * _width(base)
    return forward * shape.batch * (3 if checkpointing else 2)


def weights_bytes(base: Base, frozen: FrozenWeights) -> float:
    """Estimate the bytes of the frozen transformer's weights where it computes.

    Args:
        base: Whose transformer it is.
        frozen: How they are kept.
    """
    blocks, largest = count_block_weights(base)
    outside = count_weights(base, None)[0] - blocks  # never stored in fewer bits
    here = 2 * largest if frozen.streamed else blocks
    single = _width(base) * (_width(base) + base.transformer_config["freq_dim"])  # the time embedding's, in float32
    itemsize = frozen.dtype.itemsize
    return here * bytes_per_weight(frozen.storage, frozen.dtype) + float(outside * itemsize + single * (4 - itemsize))


def waiting_bytes(base: Base, frozen: FrozenWeights) -> float:
    """Estimate the bytes of CPU memory in which streamed blocks wait.

    Args:
        base: Whose transformer it is.
        frozen: How its weights are kept.
    """
    return count_block_weights(base)[0] * bytes_per_weight(frozen.storage, frozen.dtype) if frozen.streamed else 0.0


def trainable_bytes(base: Base, adapter: AdapterSize, optimizer: str) -> float:
    """Estimate the bytes of the trained weights, with gradients and moments.

    Args:
        base: Whose transformer is adapted.
        adapter: What is trained.
        optimizer: `adamw` or `adamw_8bit`.
    """
    return count_weights(base, adapter)[1] * _ADAM[optimizer]


def activation_bytes(base: Base, shape: ClipShape, frozen: FrozenWeights) -> float:
    """Estimate the bytes that a forward pass takes besides the weights.

    Args:
        base: Whose transformer it is.
        shape: Of the batch.
        frozen: How the base's weights are kept.
    """
    itemsize = frozen.dtype.itemsize
    each = _per_token(base, _ANSWER[itemsize]) + _hints(base, itemsize) + _outside(base)
    cast = _width(base) * base.transformer_config["ffn_dim"] if frozen.storage == "float8" else 0  # the largest layer
    return sequence_length(base, shape) * each + itemsize * (cast + shape.batch * shape.text * _width(base))


def vae_bytes(base: Base, shape: ClipShape, what: Literal["encode", "decode"]) -> float:
    """Estimate the bytes that the VAE takes in float32 for one clip.

    Args:
        base: Whose VAE it is.
        shape: Of the clip.
        what: `encode` or `decode`.
    """
    config = base.vae_config
    frames = shape.frames * shape.height * shape.width * 3 * 4.0
    weights = 4.0 * count_stored_weights(base.folder / "vae")
    share = config.get("base_dim", 96) / 96 if config.get("_class_name") == "AutoencoderKLWan" else 0.0
    return weights + frames + share * _WAN_VAE[what] * shape.height * shape.width


def latents_bytes(base: Base, sizes: Mapping[tuple[int, int, int], int], each: int) -> float:
    """Estimate the bytes that cached clips take on disk.

    Args:
        base: Whose VAE encodes.
        sizes: Number of clips of each (frames, height, width).
        each: Latents of a clip: 2 for a dance and its poses.
    """
    cells = sum(
        count
        * ((frames - 1) // base.temporal_compression + 1)
        * (height // base.spatial_compression)
        * (width // base.spatial_compression)
        for (frames, height, width), count in sizes.items()
    )
    return 4.0 * base.latent_channels * cells * each


def checkpoint_bytes(trained: int) -> float:
    """Estimate the bytes of a checkpoint of `trained` weights: each with two moments."""
    return trained * 12.0


def sequence_length(base: Base, shape: ClipShape) -> int:
    """Return the number of tokens that the blocks see, of the whole batch.

    Args:
        base: Whose transformer it is.
        shape: Of the batch.
    """
    _, rows, columns = base.transformer_config["patch_size"]
    side = base.spatial_compression
    cells = (shape.height // side // rows) * (shape.width // side // columns)
    frames = (shape.frames - 1) // base.temporal_compression + 1 + shape.photos
    return frames * cells * shape.batch


def adapted_transformer(base: Base, adapter: AdapterSize | None) -> Any:
    """Build a base's transformer with what is trained beside it, without weights (on the meta device).

    Args:
        base: Whose transformer it is.
        adapter: What is trained; None: nothing.
    """
    if adapter is None:
        return base.empty_transformer(WanVACETransformer3DModel)
    transformer = base.empty_transformer(FaceTransformer if adapter.decoupled else WanVACETransformer3DModel)
    with torch.device("meta"):
        add_lora(
            transformer,
            rank=adapter.rank,
            alpha=adapter.rank,
            dropout=0.0,
            targets=adapter.targets,
            vace_blocks=adapter.vace_blocks,
        )
        if adapter.decoupled:
            add_face_attention(transformer)
    return transformer


@lru_cache
def count_weights(base: Base, adapter: AdapterSize | None) -> tuple[int, int]:
    """Count frozen and trained weights without loading them.

    Args:
        base: Whose transformer is counted.
        adapter: What is trained; None: nothing.
    """
    weights = list(adapted_transformer(base, adapter).parameters())
    frozen = sum(weight.numel() for weight in weights if not weight.requires_grad)
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return frozen, trained + (adapter.mapper_weights if adapter else 0)


@lru_cache
def count_block_weights(base: Base) -> tuple[int, int]:
    """Count the weights of all blocks, and those of the largest block.

    Args:
        base: Whose transformer is counted.
    """
    transformer = base.empty_transformer(WanVACETransformer3DModel)
    counts = [
        sum(parameter.numel() for parameter in block.parameters())
        for block in (*transformer.blocks, *transformer.vace_blocks)
    ]
    return sum(counts), max(counts)


def count_stored_weights(folder: Path) -> int:
    """Count the numbers in the safetensors files of a folder."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # no mapping
                total += math.prod(file.get_slice(name).get_shape())
    return total


def _width(base: Base) -> int:
    config = base.transformer_config
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _hints(base: Base, itemsize: int) -> float:
    """Return the bytes per token of the pose branch's answers, which wait for their blocks."""
    return float(len(base.transformer_config["vace_layers"]) * _width(base) * itemsize)


def _outside(base: Base) -> float:
    return _INPUTS + 8.0 * float(base.transformer_config["attention_head_dim"])


def _per_token(base: Base, factors: tuple[float, float]) -> float:
    return factors[0] * _width(base) + factors[1] * float(base.transformer_config["ffn_dim"])
