"""LoRA on a generator: laid over its layers, read off, taken back, merged into them."""

import copy
import difflib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError

NAME: Final = "default"
_WRAPPED: Final = ".base_layer"  # what peft puts between a layer's name and its weights


def layers_of(generator: nn.Module, targets: Sequence[str] | None) -> list[str]:
    """Name the Linear and (ungrouped) Conv2d layers that a LoRA changes.

    targets: whole dotted names or runs of their parts, so that `blocks` names all layers in it and `convolutions`
    those of every block; None: what the generator names itself (`adaptable`), or every layer.

    Raises:
        UserError: a target names no layer; says which come near.
    """
    layers = [name for name, layer in generator.named_modules() if _adaptable(layer)]
    wanted = targets if targets is not None else getattr(generator, "adaptable", None)
    if wanted is None:
        return layers
    for target in wanted:
        if not any(_named(layer, target) for layer in layers):
            raise UserError(f"model.targets: no layer is called {target}; {_near(target, layers)}")
    return [layer for layer in layers if any(_named(layer, target) for target in wanted)]


def add_lora(generator: nn.Module, settings: LoraSettings) -> list[str]:
    """Freeze a generator, lay a LoRA over it that changes nothing yet, and name the layers it is on.

    Raises:
        UserError: a target names no layer.
    """
    layers = layers_of(generator, settings.targets)
    scaling = _scaling(settings)
    ranks = {name: min(settings.rank, *_widths(generator.get_submodule(name))) for name in layers}
    fewer = {name: rank for name, rank in ranks.items() if rank < settings.rank}
    generator.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or settings.rank,  # type: ignore[arg-type]  # a number is enough
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        target_modules=layers,
        rank_pattern={_exactly(name): rank for name, rank in fewer.items()},
        alpha_pattern={
            _exactly(name): scaling * (math.sqrt(rank) if settings.rslora else rank) for name, rank in fewer.items()
        },
    )
    inject_adapter_in_model(config, generator, NAME)
    return layers


def state(generator: nn.Module) -> dict[str, Tensor]:
    """Return the LoRA's tensors by peft's own names: `<layer>.lora_A.weight` and so on."""
    return dict(get_peft_model_state_dict(generator, adapter_name=NAME))


def load_state(generator: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors that `state` gave into a generator over which `add_lora` laid a LoRA.

    Raises:
        UserError: they belong to other layers or to another rank.
    """
    own = state(generator)
    wrong = [name for name in {**own, **tensors} if name not in own or name not in tensors]
    wrong += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if wrong:
        raise UserError(f"adapter: does not fit this base: {wrong[0]} (and {len(wrong) - 1} more); give its own base")
    set_peft_model_state_dict(generator, dict(tensors), adapter_name=NAME)


def merged(generator: nn.Module, scale: float = 1.0) -> nn.Module:
    """Return a copy with the LoRA, times `scale`, added to the weights of plain layers; the original is untouched."""
    whole = copy.deepcopy(generator)
    for name, layer in list(whole.named_modules()):
        if isinstance(layer, LoraLayer):
            tuned: Any = layer
            tuned.set_scale(NAME, scale)
            tuned.merge(adapter_names=[NAME])
            parent, _, child = name.rpartition(".")
            setattr(whole.get_submodule(parent), child, tuned.get_base_layer())
    return whole.requires_grad_(False)


@contextmanager
def without_lora(generator: nn.Module) -> Iterator[None]:
    """Let the base answer alone, bit for bit as if no LoRA lay over it."""
    layers = [cast(Any, layer) for layer in generator.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def base_hash(generator: nn.Module) -> str:
    """Return the sha256 of a generator's weights and buffers by name, without any LoRA that lies over it."""
    tensors = {name.replace(_WRAPPED, ""): value for name, value in base_state(generator).items()}
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def base_state(generator: nn.Module) -> dict[str, Tensor]:
    """Return all tensors but the LoRA's, by their names as they are now."""
    return {name: value for name, value in generator.state_dict().items() if not is_lora(name)}


def is_lora(name: str) -> bool:
    """Tell a LoRA's tensor by its name."""
    return ".lora_" in name


def _scaling(settings: LoraSettings) -> float:
    if settings.alpha is None:
        return math.sqrt(settings.rank) if settings.rslora else 1.0
    return settings.alpha / (math.sqrt(settings.rank) if settings.rslora else settings.rank)


def _adaptable(layer: nn.Module) -> bool:
    # peft cannot merge into a grouped convolution
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _widths(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, nn.Conv2d)
    return layer.in_channels * math.prod(layer.kernel_size), layer.out_channels


def _exactly(name: str) -> str:
    """The pattern by which peft takes one layer and none whose name ends alike."""
    return "^" + name.replace(".", r"\.")


def _named(layer: str, target: str) -> bool:
    return f".{target}." in f".{layer}."


def _near(target: str, layers: Sequence[str]) -> str:
    parts = [part for layer in layers for part in layer.split(".") if not part.isdigit()]
    names = list(dict.fromkeys([*parts, *layers]))
    found = difflib.get_close_matches(target, names, 4, 0.5)
    return f"did you mean {', '.join(found)}?" if found else f"choose of {', '.join(dict.fromkeys(parts))}"
