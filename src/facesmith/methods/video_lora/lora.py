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
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.lora_families import LAYERS, OUTER, to_diffusers
from facesmith.methods.video_lora.networks import Tensors, is_face_attention

NAME: Final = "face"  # of the adapter in peft
PREFIX: Final = "transformer."
COMFY_PREFIX: Final = "diffusion_model."
CONFIG_KEY: Final = "lora_adapter_metadata"  # where diffusers looks for rank and alpha
FACTS_KEY: Final = "facesmith"

_TO_COMFY: Final = dict(LAYERS)
_OUTER_TO_COMFY: Final = dict(OUTER)
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


def check_lora_fits_base(tensors: Tensors, facts: dict[str, Any], base: Base, setting: str) -> None:
    """Check that a LoRA belongs to a base: by the base's fingerprint where it is stated, and by every layer's size.

    Args:
        tensors: In diffusers' names.
        facts: Of the LoRA's file.
        base: That it must fit.
        setting: Key and value that an error begins with.

    Raises:
        UserError: it does not.
    """
    if facts.get("base_hash", base.fingerprint) != base.fingerprint:
        raise UserError(
            f"{setting}: was trained on {facts['base']} ({facts['base_hash']}), not on {base.name} "
            f"({base.fingerprint}); give that base"
        )
    layers = dict(base.empty_transformer().named_modules())
    for name, value in sorted(tensors.items()):
        layer, half = name.removeprefix(PREFIX).rsplit(".lora_", 1)
        found: Any = layers.get(layer)
        if not isinstance(found, nn.Linear):
            raise UserError(f"{setting}: changes {layer}, which {base.name} does not have; give a LoRA of that base")
        wanted, side = (found.in_features, 1) if half.startswith("A") else (found.out_features, 0)
        if value.shape[side] != wanted:
            raise UserError(
                f"{setting}: is for a base with {value.shape[side]} numbers at {layer}, {base.name} has {wanted}; give "
                "a LoRA of that base"
            )


def set_lora_scale(transformer: Any, scale: float, others: Mapping[str, float] | None = None) -> None:
    """Scale the LoRA; at 0 it is not computed, so that the output is the base's bit for bit.

    Args:
        transformer: With the LoRA.
        scale: 1 is as trained.
        others: Scales of further LoRAs by the names they were loaded under.
    """
    scales = {name: value for name, value in {NAME: scale, **(others or {})}.items() if value}
    if not scales:
        transformer.disable_adapters()
    else:
        transformer.enable_adapters()
        transformer.set_adapters(list(scales), list(scales.values()))


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
    """Read a LoRA of any known trainer; see `lora_families`.

    Args:
        path: A .safetensors file, or a .pth file of tensors alone.

    Returns:
        Tensors in diffusers' names, peft config, and facts (empty in a file of another program).

    Raises:
        UserError: it is no LoRA of a Wan transformer.
    """
    tensors, metadata = _read_tensors(path)
    facts = _read_group(metadata.get(FACTS_KEY, "{}"), path)
    packed = _read_group(metadata.get(CONFIG_KEY, "{}"), path)
    config = {key.removeprefix(PREFIX): value for key, value in packed.items()}
    tensors, alphas = to_diffusers(tensors, path)
    return tensors, config or _infer_config(tensors, alphas), facts


def _read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Read tensors and metadata of a .safetensors file, or the tensors of a .pth or .ckpt file."""
    if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # the unpickler lets pass whatever a strange file makes it run into
            raise UserError(f"{path}: is no file of tensors alone; give a LoRA of Wan") from None
        found = found.get("state_dict", found) if isinstance(found, dict) else {}
        if not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
            raise UserError(f"{path}: holds no LoRA; give a LoRA of Wan")
        return dict(found), {}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: is no safetensors file ({error}); give a LoRA of Wan") from None


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
        layer, half = name.removeprefix(PREFIX).removesuffix(".weight").rsplit(".lora_", 1)
        block = re.fullmatch(r"((?:vace_)?blocks\.\d+)\.(.+)", layer)
        theirs = _OUTER_TO_COMFY.get(layer) if block is None else _TO_COMFY.get(block[2])
        if theirs is None:
            raise UserError(f"{name}: has no name in ComfyUI; train with model.lora.targets of the blocks alone")
        place = f"{COMFY_PREFIX}{theirs if block is None else f'{block[1]}.{theirs}'}"
        renamed[f"{place}.{_HALVES[f'lora_{half}']}.weight"] = value
        if half == "A":
            own = float((config.get("alpha_pattern") or {}).get(layer, config["lora_alpha"]))
            if config.get("use_rslora"):  # peft scales by alpha / sqrt(rank), ComfyUI by alpha / rank
                own *= value.shape[0] ** 0.5
            renamed[f"{place}.alpha"] = torch.tensor(own)
    return renamed


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
