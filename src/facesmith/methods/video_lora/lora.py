"""The LoRA of the transformer: added, scaled, and in files of diffusers' and ComfyUI's names."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.methods.video_lora.networks import Tensors, is_face_attention

NAME: Final = "face"  # of the adapter in peft
PREFIX: Final = "transformer."
COMFY_PREFIX: Final = "diffusion_model."
CONFIG_KEY: Final = "lora_adapter_metadata"  # where diffusers looks for rank and alpha
FACTS_KEY: Final = "facesmith"

# Names of a block's layers, diffusers' first. Plain and VACE blocks have them, projections only the latter.
_LAYERS: Final = (
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.add_k_proj", "cross_attn.k_img"),
    ("attn2.add_v_proj", "cross_attn.v_img"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("proj_in", "before_proj"),
    ("proj_out", "after_proj"),
)
_TO_COMFY: Final = dict(_LAYERS)
_FROM_COMFY: Final = {theirs: ours for ours, theirs in _LAYERS}
_HALVES: Final = {"lora_A": "lora_down", "lora_B": "lora_up"}


def add_lora(
    transformer: Any, *, rank: int, alpha: int, dropout: float, targets: Sequence[str], vace_blocks: bool
) -> None:
    """Add a LoRA that changes nothing yet.

    Args:
        transformer: Of the base, changed in place.
        rank: Inner size of each pair of matrices.
        alpha: The LoRA is scaled by alpha / rank.
        dropout: Of the LoRA's input.
        targets: Endings of the layers' names, such as `to_q`.
        vace_blocks: Whether the VACE branch gets a LoRA too.

    Raises:
        UserError: a target names no layer.
    """
    chosen = select_lora_layers(transformer, targets, vace_blocks)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen), NAME)
    cast_training_params(transformer, torch.float32)  # a step of 1e-4 is lost in half precision


def select_lora_layers(transformer: nn.Module, targets: Sequence[str], vace_blocks: bool) -> list[str]:
    """Find the linear layers that get a LoRA.

    Args:
        transformer: Of the base.
        targets: Endings of the layers' names, such as `to_q`.
        vace_blocks: Whether layers of the VACE branch are among them.

    Returns:
        The names of the layers.

    Raises:
        UserError: a target names no layer; lists those that exist.
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
            raise UserError(f"model.lora.targets: no layer is called {target}; choose from {', '.join(kinds)}")
    return [name for name in layers if any(f".{name}".endswith(f".{target}") for target in targets)]


def set_lora_scale(transformer: Any, scale: float) -> None:
    """Scale the LoRA; at 0 it is not computed, so that the output is the base's bit for bit.

    Args:
        transformer: With the LoRA.
        scale: 1 is as trained.
    """
    if scale == 0:
        transformer.disable_adapters()
    else:
        transformer.enable_adapters()
        transformer.set_adapters([NAME], [scale])


@contextmanager
def without_lora(transformer: Any) -> Iterator[None]:
    """Switch the LoRA off for a while, so that the base answers alone."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


def extract_lora(transformer: Any) -> tuple[Tensors, dict[str, Any]]:
    """Copy the LoRA out of a transformer.

    Args:
        transformer: With the LoRA.

    Returns:
        Its tensors in diffusers' names, on the CPU, and its peft config as plain values.
    """
    found = get_peft_model_state_dict(transformer, adapter_name=NAME)
    config = transformer.peft_config[NAME].to_dict()
    plain: dict[str, Any] = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    plain["peft_type"], plain["task_type"] = "LORA", None
    tensors = {f"{PREFIX}{name}": value.detach().cpu().contiguous() for name, value in found.items()}
    return tensors, plain


def save_lora(path: Path, tensors: Tensors, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write a file that diffusers' `pipe.load_lora_weights` reads, rank and alpha included.

    Args:
        path: File to write.
        tensors: In diffusers' names.
        config: Of peft.
        facts: Whose face it is, and which base's.
    """
    packed = {f"{PREFIX}{key}": value for key, value in config.items()}
    metadata = {
        "format": "pt",
        CONFIG_KEY: json.dumps(packed, sort_keys=True, default=str),
        FACTS_KEY: json.dumps(facts, sort_keys=True),
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_lora(path: Path) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    """Read a LoRA in the names of diffusers or ComfyUI.

    Args:
        path: A .safetensors file.

    Returns:
        Tensors in diffusers' names, peft config, and facts (empty in a file of another program).

    Raises:
        UserError: it is no LoRA of a Wan transformer.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no safetensors file ({error}); give a LoRA of Wan") from None
    facts = _read_group(metadata.get(FACTS_KEY, "{}"), path)
    if any(name.startswith(COMFY_PREFIX) for name in tensors):
        tensors, alphas = from_comfy(tensors, path)
        return tensors, _infer_config(tensors, alphas), facts
    if not tensors or not all(name.startswith(PREFIX) and ".lora_" in name for name in tensors):
        raise UserError(f"{path}: is no LoRA of a Wan transformer in diffusers' or ComfyUI's names")
    packed = _read_group(metadata.get(CONFIG_KEY, "{}"), path)
    config = {key.removeprefix(PREFIX): value for key, value in packed.items()}
    return tensors, config or _infer_config(tensors, {}), facts


def _read_group(text: str, path: Path) -> dict[str, Any]:
    """Read a JSON object out of a file's metadata."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no group of keys")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are damaged ({str(error)[:120]}); copy it again") from None
    return found


def to_comfy(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """Rename a LoRA for ComfyUI.

    Args:
        tensors: In diffusers' names.
        config: Of peft.

    Returns:
        Tensors in ComfyUI's names, an `alpha` for each layer among them.

    Raises:
        UserError: a layer has no name there.
    """
    renamed: Tensors = {}
    for name, value in tensors.items():
        found = re.fullmatch(r"transformer\.((?:vace_)?blocks\.\d+)\.(.+)\.(lora_[AB])\.weight", name)
        if found is None or found[2] not in _TO_COMFY:
            raise UserError(f"{name}: has no name in ComfyUI; train with model.lora.targets of the blocks alone")
        layer = f"{COMFY_PREFIX}{found[1]}.{_TO_COMFY[found[2]]}"
        renamed[f"{layer}.{_HALVES[found[3]]}.weight"] = value
        if found[3] == "lora_A":
            pattern = config.get("alpha_pattern") or {}
            own = pattern.get(f"{found[1]}.{found[2]}", config["lora_alpha"])
            renamed[f"{layer}.alpha"] = torch.tensor(float(own))
    return renamed


def from_comfy(tensors: Tensors, path: Path) -> tuple[Tensors, dict[str, float]]:
    """Rename a LoRA of ComfyUI for diffusers.

    Args:
        tensors: In ComfyUI's names.
        path: Where they come from, for the error.

    Returns:
        Tensors in diffusers' names, and the alpha of each layer that states one.

    Raises:
        UserError: a key belongs to no known layer.
    """
    renamed: Tensors = {}
    alphas: dict[str, float] = {}
    halves = {theirs: ours for ours, theirs in _HALVES.items()} | {"lora_A": "lora_A", "lora_B": "lora_B"}
    for name, value in tensors.items():
        found = re.fullmatch(r"diffusion_model\.((?:vace_)?blocks\.\d+)\.(.+?)\.(?:(lora_\w+?)\.weight|(alpha))", name)
        if found is None or found[2] not in _FROM_COMFY or (found[3] and found[3] not in halves):
            raise UserError(f"{path}: holds {name}, which is no layer of a Wan transformer that a LoRA can change")
        layer = f"{found[1]}.{_FROM_COMFY[found[2]]}"
        if found[4]:
            alphas[layer] = float(value)
        else:
            renamed[f"{PREFIX}{layer}.{halves[found[3]]}.weight"] = value
    return renamed, alphas


def save_comfy(path: Path, tensors: Tensors, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write a LoRA in ComfyUI's names.

    Args:
        path: File to write.
        tensors: In diffusers' names.
        config: Of peft.
        facts: Whose face it is, and which base's.

    Raises:
        UserError: a layer has no name there.
    """
    with atomic_write(path) as temporary:
        save_file(
            to_comfy(tensors, config),
            temporary,
            metadata={"format": "pt", FACTS_KEY: json.dumps(facts, sort_keys=True)},
        )


def _infer_config(tensors: Tensors, alphas: Mapping[str, float]) -> dict[str, Any]:
    """Derive the peft config from ranks and alphas of single layers; an alpha that is not stated is the rank."""
    ranks = {
        name.removeprefix(PREFIX).removesuffix(".lora_A.weight"): value.shape[0]
        for name, value in tensors.items()
        if name.endswith(".lora_A.weight")
    }
    rank = max(set(ranks.values()), key=list(ranks.values()).count)
    stated = {layer: alphas.get(layer, float(own)) for layer, own in ranks.items()}
    alpha = max(set(stated.values()), key=list(stated.values()).count)
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {layer: own for layer, own in ranks.items() if own != rank},
        "alpha_pattern": {layer: own for layer, own in stated.items() if own != alpha},
        "target_modules": sorted(ranks),
    }
