"""The LoRA on the transformer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from peft import LoraConfig
from torch import nn

from facesmith.errors import UserError
from facesmith.methods.video_lora.face_attention import is_face_attention

NAME: Final = "face"


def lora_targets(transformer: nn.Module, targets: Sequence[str], vace_blocks: bool) -> list[str]:
    """Name the linear layers of the blocks that end in one of `targets`, those of the VACE branch only when asked.

    Raises:
        UserError: a target names no layer; says which do.
    """
    roots = ("blocks.", "vace_blocks.") if vace_blocks else ("blocks.",)
    layers = [
        name
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear)
        and name.startswith(roots)
        and name.split(".")[2] not in ("proj_in", "proj_out")
        and not is_face_attention(name)
    ]
    kinds = list(dict.fromkeys(name.split(".", 2)[2] for name in layers))
    for target in targets:
        if not any(f".{kind}".endswith(f".{target}") for kind in kinds):
            raise UserError(f"model.lora.targets: no layer is called {target}; choose of {', '.join(kinds)}")
    return [name for name in layers if any(f".{name}".endswith(f".{target}") for target in targets)]


def add_lora(
    transformer: Any, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], vace_blocks: bool
) -> None:
    """Lay a LoRA over the transformer that changes nothing yet."""
    chosen = lora_targets(transformer, targets, vace_blocks)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen), NAME)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # a step of 1e-4 is lost in half precision


def set_lora_scale(transformer: Any, scale: float) -> None:
    """Scale the LoRA; at 0 it is taken out of the computation, so that the base answers bit for bit."""
    if scale == 0:
        transformer.disable_adapters()
    else:
        transformer.enable_adapters()
        transformer.set_adapters([NAME], [scale])


@contextmanager
def without_lora(transformer: Any) -> Iterator[None]:
    """Let the base answer alone."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()
