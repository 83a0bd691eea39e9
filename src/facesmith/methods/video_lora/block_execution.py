"""How the blocks of a frozen transformer compute: compiled, by which attention, and how far gradients go."""

import warnings
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from facesmith.errors import UserError

AttentionBackend = Literal["auto", "cudnn", "flash", "efficient", "math"]
_KERNELS: Final = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
_MIXED: Final = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


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
    # Set for auto, too: diffusers keeps the last choice for all transformers of a process, such as a sweep's.
    transformer.set_attention_backend("native" if backend == "auto" else f"_native_{backend}")


def check_attention(backend: AttentionBackend, precision: str, dtype: torch.dtype, head_size: int) -> None:
    """Check that this machine has a kernel of attention.

    Args:
        backend: `auto` is always there.
        precision: Lightning's, such as `bf16-mixed`.
        dtype: Type that the base computes in, where the precision is not mixed.
        head_size: Numbers of an attention head.

    Raises:
        UserError: it has none for this type.
    """
    if backend == "auto":
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = _MIXED.get(precision, dtype)
    query = torch.zeros(1, 1, 8, head_size, dtype=dtype, device=device, requires_grad=True)
    try:
        with sdpa_kernel(_KERNELS[backend]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells there why each kernel is left out
            nn.functional.scaled_dot_product_attention(query, query, query)
    except RuntimeError:
        kind = str(dtype).removeprefix("torch.")
        raise UserError(
            f"model.attention={backend}: torch has no such kernel here ({kind} on {device}); use model.attention=auto"
        ) from None


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
