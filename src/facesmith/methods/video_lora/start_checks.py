"""What is refused at the start of a training, before its clips are encoded."""

import torch

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.block_execution import check_attention
from facesmith.methods.video_lora.config import VideoLoraDataModuleConfig, VideoLoraModuleConfig
from facesmith.methods.video_lora.memory_check import check_training_memory
from facesmith.methods.video_lora.quantization import (
    check_optimizer,
    check_precision,
    compute_dtype,
    quantization_config,
)


def check_start(base: Base, model: VideoLoraModuleConfig, data: VideoLoraDataModuleConfig, precision: str) -> None:
    """Check that this machine can train with these settings, and that they do not contradict each other.

    Args:
        base: That is trained on.
        model: Settings of the model.
        data: Settings of the data.
        precision: Lightning's, such as `bf16-mixed`.

    Raises:
        UserError: a library, a kernel of attention or memory is missing, or settings contradict each other.
    """
    check_precision(precision, model.base_dtype)
    quantization_config(model.base_storage, torch.bfloat16)  # raises where its library is missing
    check_optimizer(model.optimizer.kind)
    head_size = int(base.transformer_config["attention_head_dim"])
    check_attention(model.attention, precision, compute_dtype(model.base_dtype), head_size)
    if not model.gate_tokens and data.prior and not data.trigger:
        raise UserError(
            "model.gate_tokens=false: clips of the person and of the base need different words; give data.trigger, "
            "such as ohwx, or data.prior=null"
        )
    check_training_memory(base, model, data)


def check_embedding_size(model: VideoLoraModuleConfig, size: int) -> None:
    """Check that the mapper takes what the face encoder gives.

    Args:
        model: Settings of the model.
        size: Numbers of a face embedding.

    Raises:
        UserError: it does not.
    """
    wanted = model.mapper.embedding_size
    if size != wanted:
        raise UserError(
            f"model.mapper.embedding_size={wanted}: the face encoder gives {size}; set "
            f"model.mapper.embedding_size={size}"
        )
