"""What the steps of a job take of memory and disk, by the base's config alone.

Bytes a token were counted on diffusers' transformer: those kept for the backward pass with saved_tensors_hooks, those
in between by the peak of a process; benchmarks/video_lora_memory.py holds the sum against a process. Norms and
modulation are computed in float32, which is why half precision saves less than half.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import WanVACETransformer3DModel
from safetensors import safe_open

from facesmith.methods.video_lora.base import Base, Storage, bytes_a_weight
from facesmith.methods.video_lora.lora import add_lora
from facesmith.methods.video_lora.networks import FaceTransformer, add_face_attention

# bytes a token: (times the width, times the feed-forward's) by bytes a number
_SAVED: Final = {4: (62.0, 8.0), 2: (60.0, 5.0)}  # one block, for its backward pass
_PASSING: Final = {4: (45.0, 12.0), 2: (40.0, 6.0)}  # one block, while it answers
_BACKWARD: Final = 32.0  # gradients under way
_FACE: Final = 24.0  # of an attention to the face, a block
_WAN_CODEC: Final = {"encode": 5.0e3, "decode": 14.1e3}  # a pixel of the frame, at the codec's own 96 channels
_ADAM: Final = {"adamw": 16.0, "adamw_8bit": 10.0}  # weight, gradient, two moments


@dataclass(frozen=True)
class Shape:
    """Clips of `frames` at `height` x `width` px, `batch` at a time."""

    frames: int
    height: int
    width: int
    batch: int = 1


@dataclass(frozen=True)
class Adapter:
    """What is trained. mapper: its number of weights."""

    rank: int
    targets: tuple[str, ...]
    vace_blocks: bool
    decoupled: bool
    mapper: int


def tokens(base: Base, shape: Shape) -> int:
    """Return the length of the sequence that blocks see, of the whole batch."""
    _, rows, columns = base.transformer_config["patch_size"]
    cells = (shape.height // base.side // rows) * (shape.width // base.side // columns)
    return ((shape.frames - 1) // base.times + 1) * cells * shape.batch


@lru_cache
def counted(base: Base, adapter: Adapter | None) -> tuple[int, int]:
    """Return the numbers of frozen and of trained weights; nothing is loaded."""
    with torch.device("meta"):
        decoupled = adapter is not None and adapter.decoupled
        transformer = base.bare_transformer(FaceTransformer if decoupled else WanVACETransformer3DModel)
        frozen = sum(parameter.numel() for parameter in transformer.parameters())
        if adapter is None:
            return frozen, 0
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
    trained = sum(parameter.numel() for parameter in transformer.parameters() if parameter.requires_grad)
    return frozen, trained + adapter.mapper


def step_bytes(
    base: Base,
    shape: Shape,
    adapter: Adapter,
    *,
    dtype: Any,
    storage: Storage,
    checkpointing: bool,
    offloaded: bool,
    optimizer: str,
) -> float:
    """Return a training step's needs. offloaded: what is kept for the backward pass waits in the computer's memory."""
    config, itemsize = base.transformer_config, dtype.itemsize
    blocks = config["num_layers"] + (len(config["vace_layers"]) if adapter.vace_blocks else 0)
    block = _a_token(base, _SAVED[itemsize]) + (_FACE * _width(base) if adapter.decoupled else 0.0)
    kept = 0.0 if offloaded else itemsize * _width(base)
    a_token = blocks * kept + block if checkpointing else blocks * block
    a_token += _BACKWARD * _width(base)
    weights = weights_bytes(base, dtype=dtype, storage=storage) + learning_bytes(base, adapter, optimizer)
    return weights + tokens(base, shape) * a_token


def weights_bytes(base: Base, *, dtype: Any, storage: Storage) -> float:
    """Return what the frozen transformer's weights take."""
    return counted(base, None)[0] * bytes_a_weight(storage, dtype)


def learning_bytes(base: Base, adapter: Adapter, optimizer: str) -> float:
    """Return what is trained takes, with its gradients and moments."""
    return counted(base, adapter)[1] * _ADAM[optimizer]


def passing_bytes(base: Base, shape: Shape, *, dtype: Any) -> float:
    """Return what the transformer takes to answer, besides its weights."""
    return tokens(base, shape) * _a_token(base, _PASSING[dtype.itemsize])


def codec_bytes(base: Base, shape: Shape, what: str) -> float:
    """Return what the VAE takes, in float32, to `encode` or to `decode` one clip."""
    config = base.codec_config
    frames = shape.frames * shape.height * shape.width * 3 * 4.0
    weights = 4.0 * stored_numbers(base.folder / "vae")
    share = config.get("base_dim", 96) / 96 if config.get("_class_name") == "AutoencoderKLWan" else 0.0
    return weights + frames + share * _WAN_CODEC[what] * shape.height * shape.width


def stored_numbers(folder: Path) -> int:
    """Return how many numbers the safetensors files of a folder hold."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                count = 1
                for size in file.get_slice(name).get_shape():
                    count *= size
                total += count
    return total


def latents_bytes(base: Base, sizes: Mapping[tuple[int, int, int], int], each: int) -> float:
    """Return what cached clips take on disk. sizes: how many of each (frames, height, width). each: latents a clip."""
    cells = sum(
        count * ((frames - 1) // base.times + 1) * (height // base.side) * (width // base.side)
        for (frames, height, width), count in sizes.items()
    )
    return 4.0 * base.channels * cells * each


def checkpoint_bytes(trained: int) -> float:
    """Return what one checkpoint takes on disk: weights and two moments."""
    return trained * 12.0


def _width(base: Base) -> int:
    config = base.transformer_config
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def _a_token(base: Base, factors: tuple[float, float]) -> float:
    return factors[0] * _width(base) + factors[1] * float(base.transformer_config["ffn_dim"])
