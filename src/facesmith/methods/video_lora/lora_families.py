"""Names that other trainers give the layers of a LoRA for Wan, brought to those of diffusers."""

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Final

from torch import Tensor

from facesmith.errors import UserError

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]

# Names of a block's layers, diffusers' first. Plain and VACE blocks have them, projections only the latter.
LAYERS: Final = (
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
# Layers outside the blocks, which LoRAs for few steps change.
OUTER: Final = (
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("proj_out", "head.head"),
)
_OUTER_OURS: Final = {theirs: ours for ours, theirs in OUTER} | {ours: ours for ours, _ in OUTER}
_OURS: Final = {theirs: ours for ours, theirs in LAYERS} | {ours: ours for ours, _ in LAYERS}
# musubi and kohya join a layer's name with _: lora_unet_blocks_0_self_attn_q
_JOINED: Final = {name.replace(".", "_"): ours for name, ours in _OURS.items()}
# before a layer's name: ComfyUI, diffusion-pipe and ai-toolkit; diffusers, old (`lora.down`) and new; peft; DiffSynth
_PREFIX: Final = r"(?:diffusion_model\.|transformer\.|base_model\.model\.|pipe\.dit\.|model\.)*"
_PART: Final = r"(?:lora[._](A|B|down|up)(?:\.default)?\.weight|alpha)"
_DOTTED: Final = re.compile(rf"{_PREFIX}((?:vace_)?blocks\.\d+)\.(.+?)\.{_PART}")
_OUTSIDE: Final = re.compile(rf"{_PREFIX}(.+?)\.{_PART}")
_UNDERSCORED: Final = re.compile(r"lora_unet_((?:vace_)?blocks)_(\d+)_(.+?)\.(?:lora_(down|up)\.weight|alpha)")
_HALVES: Final = {"A": "lora_A", "down": "lora_A", "B": "lora_B", "up": "lora_B"}
_OTHER_KINDS: Final = {
    "LoKr": re.compile(r"\.lokr_"),
    "LoHa": re.compile(r"\.hada_"),
    "DoRA": re.compile(r"\.(dora_scale|lora_magnitude_vector)"),
}
_DIFFERENCES: Final = re.compile(r"\.(diff|diff_b|diff_m)$")  # of norms and biases, which lightx2v's files add


def to_diffusers(tensors: Tensors, path: Path) -> tuple[Tensors, dict[str, float]]:
    """Rename a LoRA of any known trainer.

    musubi and kohya, diffusion-pipe and peft, ai-toolkit, DiffSynth, ComfyUI (lightx2v, CausVid) and diffusers itself.
    Differences of norms and biases (`diff`, `diff_b`) have no place in a LoRA: they are left out with a warning.

    Args:
        tensors: In the trainer's names.
        path: Where they come from, for the error.

    Returns:
        Tensors in diffusers' names, and the alpha of each layer that states one.

    Raises:
        UserError: it is a LoKr, LoHa or DoRA, a key belongs to no known layer, a layer lacks a half, or holds no finite
            numbers.
    """
    for kind, pattern in _OTHER_KINDS.items():
        if any(pattern.search(name) for name in tensors):
            raise UserError(f"{path}: is a {kind}, which is no plain LoRA; merge it with its trainer, or give a LoRA")
    renamed: Tensors = {}
    alphas: dict[str, float] = {}
    skipped = 0
    for name, value in tensors.items():
        if _DIFFERENCES.search(name):
            skipped += 1
            continue
        found = _find_layer(name)
        if found is None:
            raise UserError(
                f"{path}: is for another model, such as one of images: it holds {name}, which is no layer of a Wan "
                "transformer that a LoRA can change; give a LoRA of Wan"
            )
        layer, part = found
        if part is None:
            alphas[layer] = _read_alpha(name, value, path)
        else:
            renamed[f"transformer.{layer}.{_HALVES[part]}.weight"] = value
    if not renamed:
        raise UserError(f"{path}: is no LoRA of a Wan transformer; give one")
    _check_halves(renamed, path)
    if skipped:
        log.warning("%s: %d differences of norms and biases are left out, for a LoRA cannot hold them", path, skipped)
    return renamed, alphas


def _find_layer(name: str) -> tuple[str, str | None] | None:
    """Return a key's layer in diffusers' names, and which matrix of the LoRA it is; None for its alpha."""
    if found := _DOTTED.fullmatch(name):
        ours = _OURS.get(found[2])
        return None if ours is None else (f"{found[1]}.{ours}", found[3])
    if found := _UNDERSCORED.fullmatch(name):
        ours = _JOINED.get(found[3])
        return None if ours is None else (f"{found[1]}.{found[2]}.{ours}", found[4])
    if (found := _OUTSIDE.fullmatch(name)) and found[1] in _OUTER_OURS:
        return _OUTER_OURS[found[1]], found[2]
    return None


def _read_alpha(name: str, value: Tensor, path: Path) -> float:
    if value.numel() != 1 or not bool(value.isfinite().all()):
        raise UserError(f"{path}: {name} is no finite number; copy it again")
    return float(value)


def _check_halves(tensors: Tensors, path: Path) -> None:
    halves = Counter(name.rsplit(".lora_", 1)[0] for name in tensors)
    alone = [layer.removeprefix("transformer.") for layer, count in halves.items() if count != 2]
    if alone:
        raise UserError(
            f"{path}: holds only one of the two matrices of {alone[0]} (such layers: {len(alone)}); copy it again"
        )
    for layer in halves:
        down, up = (tensors[f"{layer}.lora_{half}.weight"] for half in "AB")
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            raise UserError(
                f"{path}: the two matrices of {layer.removeprefix('transformer.')} do not fit each other "
                f"({tuple(down.shape)}, {tuple(up.shape)}); copy it again"
            )
        for matrix in (down, up):
            name = layer.removeprefix("transformer.")
            if not matrix.is_floating_point():
                kind = str(matrix.dtype).removeprefix("torch.")
                raise UserError(f"{path}: a matrix of {name} is stored as {kind}; give the LoRA as it was trained")
            if not bool(matrix.float().isfinite().all()):
                raise UserError(f"{path}: a matrix of {name} holds NaN or infinity; copy it again, or train it again")
