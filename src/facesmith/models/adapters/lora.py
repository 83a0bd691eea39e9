"""Low-rank adaptation (LoRA) of a generator: add it, read and load its tensors, merge it, switch it off."""

import copy
import difflib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError

M = TypeVar("M", bound=nn.Module)

NAME: Final = "default"
_WRAPPED: Final = ".base_layer"  # what peft puts between a layer's name and its weights


def layers_of(generator: nn.Module, targets: Sequence[str] | None) -> list[str]:
    """Find the Linear and ungrouped Conv2d layers that a LoRA changes.

    Args:
        generator: The network.
        targets: Whole dotted names, or parts of them: `blocks` selects all layers in it, `convolutions` those of
            every block. None selects what the generator lists in `adaptable`, or every layer.

    Returns:
        The layers' dotted names.

    Raises:
        UserError: A target matches no layer; the error lists similar names.
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
    """Freeze a generator and add a LoRA, which changes nothing before it is trained.

    Args:
        generator: The network; it is changed in place.
        settings: Rank, scaling and layers.

    Returns:
        Dotted names of the layers that have a LoRA now.

    Raises:
        UserError: A target matches no layer.
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


def lora_state(generator: nn.Module) -> dict[str, Tensor]:
    """Return the LoRA's tensors by peft's own names: `<layer>.lora_A.weight` and so on."""
    return dict(get_peft_model_state_dict(generator, adapter_name=NAME))


def load_lora_state(generator: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors of `lora_state` into a generator that `add_lora` has changed.

    Raises:
        UserError: The tensors belong to other layers or to another rank.
    """
    own = lora_state(generator)
    wrong = [name for name in {**own, **tensors} if name not in own or name not in tensors]
    wrong += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if wrong:
        raise UserError(f"adapter: does not fit this base: {wrong[0]} (and {len(wrong) - 1} more); give its own base")
    set_peft_model_state_dict(generator, dict(tensors), adapter_name=NAME)


def merge_lora(generator: M, scale: float = 1.0) -> M:
    """Return a copy with the LoRA times `scale` merged into its weights; the original is not changed."""
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
    """Switch the LoRA off: the generator computes, bit for bit, what its base does."""
    layers = [cast(Any, layer) for layer in generator.modules() if isinstance(layer, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def base_hash(generator: nn.Module) -> str:
    """Return the sha256 of a generator's weights and buffers by name, without its LoRA."""
    tensors = {name.replace(_WRAPPED, ""): value for name, value in base_state(generator).items()}
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def base_state(generator: nn.Module) -> dict[str, Tensor]:
    """Return all tensors except the LoRA's, by their current names."""
    return {name: value for name, value in generator.state_dict().items() if not is_lora(name)}


def is_lora(name: str) -> bool:
    """Return whether a tensor of this name belongs to a LoRA."""
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
    """Return the pattern that matches one layer in peft, and none whose name merely ends alike."""
    return "^" + name.replace(".", r"\.")


def _named(layer: str, target: str) -> bool:
    return f".{target}." in f".{layer}."


def _near(target: str, layers: Sequence[str]) -> str:
    parts = [part for layer in layers for part in layer.split(".") if not part.isdigit()]
    names = list(dict.fromkeys([*parts, *layers]))
    found = difflib.get_close_matches(target, names, 4, 0.5)
    return f"did you mean {', '.join(found)}?" if found else f"choose of {', '.join(dict.fromkeys(parts))}"
