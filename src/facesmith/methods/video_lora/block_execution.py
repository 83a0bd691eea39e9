"""How the blocks of a frozen transformer compute: compiled, by which attention, and how far gradients go."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

AttentionBackend = Literal["auto", "cudnn", "flash", "efficient", "math"]


def compile_blocks(transformer: Any, backend: str = "inductor") -> None:
    """Let `torch.compile` compile each block when it first computes.

    Args:
        transformer: Of Wan-VACE, its adapters already added; changed in place.
        backend: Of `torch.compile`.
    """
    for block in (*transformer.vace_blocks, *transformer.blocks):
        # `block.compile()` and diffusers' `compile_repeated_blocks` would trace the hooks that stream weights, too.
        block.forward = torch.compile(block.forward, backend=backend)


def choose_attention(transformer: Any, backend: AttentionBackend) -> None:
    """Choose the kernel of torch's scaled dot product attention.

    Args:
        transformer: Of diffusers, changed in place.
        backend: `auto` leaves the choice to torch.
    """
    if backend != "auto":
        transformer.set_attention_backend(f"_native_{backend}")


def detach_pose_branch(transformer: Any) -> None:
    """Let no gradients of the words and face tokens flow through the branch that follows the poses.

    The answer is the same. Unless the branch has a LoRA of its own, it is then neither recomputed nor differentiated.

    Args:
        transformer: Of Wan-VACE, changed in place.
    """
    for block in transformer.vace_blocks:
        block.register_forward_pre_hook(_detach_text)


def _detach_text(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Detach the second input: words and tokens, or a `TextWithFace`, whose words have no gradients."""
    video, text, *rest = inputs
    return (video, text.detach() if isinstance(text, Tensor) else text, *rest)
