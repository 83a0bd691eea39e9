"""A person, or anybody's LoRA of Wan, for other tools."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.export_onnx import export_mapper, export_transformer
from facesmith.methods.video_lora.lora_files import PREFIX, Tensors, load_lora, save_comfy, save_lora
from facesmith.methods.video_lora.person import load_person

_NAMINGS: Final[dict[str, Callable[..., None]]] = {"diffusers": save_lora, "comfyui": save_comfy}


def convert_lora(source: Path, to: str, output: Path, base: str | None) -> str:
    """Write a LoRA in the naming of diffusers or ComfyUI, and say what was written.

    source: a file of either naming, the exports/ of a run, or a checkpoint. base: what it must fit; None: not checked.

    Raises:
        UserError: it is no LoRA of Wan, or of another base.
    """
    tensors, config, facts = _lora(source)
    if base is not None:
        refuse_other_base(tensors, facts, open_base(base), f"ckpt_path={source}")
    name = facts.get("identity") or source.stem
    path = output / f"{name}_{to}.safetensors"
    if path.resolve() == source.resolve():
        raise UserError(f"output={output}: would write over {source}; give another folder")
    _NAMINGS[to](path, tensors, config, facts)
    layers = {key.rsplit(".lora_", 1)[0] for key in tensors}
    vace = sum("vace_blocks." in layer for layer in layers)
    alphas = ", ".join(f"{value:g}" for value in _alphas(config))
    return f"{path}: {len(layers)} layers, {vace} of them in VACE blocks; rank {config['r']}, alpha {alphas}"


def refuse_other_base(tensors: Tensors, facts: dict[str, Any], base: Base, setting: str) -> None:
    """Make sure that a LoRA belongs to a base: by the base's fingerprint where it is told, and by every layer's size.

    Raises:
        UserError: it does not.
    """
    if facts.get("base_hash", base.fingerprint) != base.fingerprint:
        raise UserError(
            f"{setting}: was trained on {facts['base']} ({facts['base_hash']}), not on {base.name} "
            f"({base.fingerprint}); give that base"
        )
    layers = dict(base.bare_transformer().named_modules())
    for name, value in sorted(tensors.items()):
        layer, half = name.removeprefix(PREFIX).rsplit(".lora_", 1)
        found: Any = layers.get(layer)
        if not isinstance(found, torch.nn.Linear):
            raise UserError(f"{setting}: changes {layer}, which {base.name} does not have; give a LoRA of that base")
        wanted, side = (found.in_features, 1) if half.startswith("A") else (found.out_features, 0)
        if value.shape[side] != wanted:
            raise UserError(
                f"{setting}: is for a base with {value.shape[side]} numbers at {layer}, {base.name} has {wanted}; give "
                "a LoRA of that base"
            )


def export_graphs(source: Path, to: str, output: Path, base: str | None, opset: int) -> list[str]:
    """Write mapper and transformer (to=onnx), or the mapper alone (onnx_mapper), and say what was written.

    source: the exports/ of a run, or a checkpoint. base: where the base lies now; None: where it lay in training.

    Raises:
        UserError: it is neither, or the base is another one or too large for this computer.
    """
    person = load_person(source)
    written = [export_mapper(person, output / "mapper.onnx", opset)]
    if to == "onnx":
        opened = open_base(base or str(person.facts["base"]))
        refuse_other_base(person.lora, person.facts, opened, f"ckpt_path={source}")
        written.append(export_transformer(person, opened.name, output / "transformer.onnx", opset))
    return [
        f"{one.path}{f' and {one.data.name}' if one.data else ''}: {one.size / 1e6:.1f} MB, within "
        f"{one.difference:.1e} of torch, all sizes free"
        for one in written
    ]


def _lora(source: Path) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    if source.suffix == ".safetensors":
        if not source.is_file():
            raise UserError(
                f"ckpt_path={source}: there is no such file; give a LoRA, an exports/ folder or a checkpoint"
            )
        return load_lora(source)
    person = load_person(source)
    return person.lora, person.lora_config, person.facts


def _alphas(config: dict[str, Any]) -> list[float]:
    return sorted({float(config["lora_alpha"]), *map(float, (config.get("alpha_pattern") or {}).values())})
