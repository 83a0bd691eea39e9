"""LoRAs of other trainers are read, whatever they call the layers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.generation import load_further_lora, read_further_lora
from facesmith.methods.video_lora.lora import load_lora, save_comfy, set_lora_scale

Tensors = dict[str, torch.Tensor]
LAYER = "diffusion_model.blocks.0.self_attn.q"
DOWN, UP = torch.randn(4, 144), torch.randn(144, 4)
LAYERS = {"blocks.0.self_attn.q": "blocks.0.attn1.to_q", "vace_blocks.1.cross_attn.o": "vace_blocks.1.attn2.to_out.0"}


def name_each(template: Callable[[str], str], down: str, up: str, alpha: str | None = None) -> Tensors:
    found: Tensors = {}
    for layer in LAYERS:
        found |= {f"{template(layer)}.{down}": DOWN.clone(), f"{template(layer)}.{up}": UP.clone()}
        if alpha:
            found[f"{template(layer)}.{alpha}"] = torch.tensor(2.0)
    return found


FAMILIES = {
    "musubi": name_each(
        lambda layer: "lora_unet_" + layer.replace(".", "_"), "lora_down.weight", "lora_up.weight", "alpha"
    ),
    "comfyui": name_each(lambda layer: f"diffusion_model.{layer}", "lora_down.weight", "lora_up.weight", "alpha"),
    "diffusion-pipe": name_each(lambda layer: f"diffusion_model.{layer}", "lora_A.weight", "lora_B.weight"),
    "ai-toolkit": name_each(lambda layer: f"transformer.{LAYERS[layer]}", "lora_A.weight", "lora_B.weight"),
    "old diffusers": name_each(lambda layer: f"transformer.{LAYERS[layer]}", "lora.down.weight", "lora.up.weight"),
    "peft": name_each(lambda layer: f"base_model.model.{layer}", "lora_A.weight", "lora_B.weight"),
    "DiffSynth": name_each(lambda layer: layer, "lora_A.default.weight", "lora_B.default.weight"),
    "DiffSynth pipe": name_each(lambda layer: f"pipe.dit.{layer}", "lora_A.default.weight", "lora_B.default.weight"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_load_lora_of_other_trainers_and_back_to_comfyui(family: str, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({name: value.contiguous() for name, value in FAMILIES[family].items()}, path)
    tensors, config, _ = load_lora(path)
    assert sorted(tensors) == sorted(
        f"transformer.{ours}.lora_{half}.weight" for ours in LAYERS.values() for half in "AB"
    )
    assert torch.equal(tensors["transformer.blocks.0.attn1.to_q.lora_A.weight"], DOWN)
    assert torch.equal(tensors["transformer.vace_blocks.1.attn2.to_out.0.lora_B.weight"], UP)
    assert config["lora_alpha"] == (2 if family in ("musubi", "comfyui") else 4)
    save_comfy(tmp_path / "comfy.safetensors", tensors, config, {})
    again, other, _ = load_lora(tmp_path / "comfy.safetensors")
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert other["lora_alpha"] == config["lora_alpha"]


def test_load_lora_pth_of_tensors(tmp_path: Path) -> None:
    torch.save(FAMILIES["DiffSynth"], tmp_path / "lora.pth")
    assert len(load_lora(tmp_path / "lora.pth")[0]) == 4
    torch.save({"weights": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"code.pth: is no file of tensors alone"):
        load_lora(tmp_path / "code.pth")


def test_load_lora_differences_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    more = {f"{LAYER}.diff_b": torch.zeros(144)}
    more |= {"diffusion_model.blocks.0.norm3.diff": torch.zeros(144)}
    outer = {f"diffusion_model.head.head.lora_{half}.weight": torch.ones(4, 4) for half in ("down", "up")}
    save_file({**FAMILIES["comfyui"], **more, **outer}, tmp_path / "lora.safetensors")
    tensors, config, _ = load_lora(tmp_path / "lora.safetensors")
    assert len(tensors) == 6
    assert "proj_out" in config["target_modules"]
    assert "2 differences of norms and biases are left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda found: found.pop(f"{LAYER}.lora_up.weight"),
            r"only one of the two matrices",
        ),
        (lambda found: found.update({f"{LAYER}.lokr_w1": DOWN}), r"is a LoKr, which is no"),
        (
            lambda found: found.update({f"{LAYER}.hada_w1_a": DOWN}),
            r"is a LoHa, which is no",
        ),
        (
            lambda found: found.update({f"{LAYER}.dora_scale": DOWN}),
            r"is a DoRA, which is no",
        ),
        (
            lambda found: found.update({"lora_unet_down_blocks_0.lora_down.weight": DOWN}),
            r"another model.*; give a LoRA of Wan$",
        ),
        (
            lambda found: found.update({f"{LAYER}.lora_up.weight": torch.ones(144, 3)}),
            r"do not fit each other",
        ),
        (
            lambda found: found.update({f"{LAYER}.alpha": torch.ones(3)}),
            r"alpha is no finite number; copy it again",
        ),
        (
            lambda found: found.update({f"{LAYER}.lora_up.weight": UP * torch.nan}),
            r"holds NaN or infinity; copy it again",
        ),
        (
            lambda found: found.update({f"{LAYER}.lora_up.weight": UP.to(torch.int8)}),
            r"is stored as int8; give the LoRA as it was trained",
        ),
    ],
)
def test_load_lora_what_is_no_lora_raises(change: Callable[[Tensors], object], line: str, tmp_path: Path) -> None:
    found = dict(FAMILIES["comfyui"])
    change(found)
    save_file({name: value.clone() for name, value in found.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(UserError, match=line):
        load_lora(tmp_path / "lora.safetensors")


def test_load_further_lora_changes_the_answer_and_fits_the_base(base: Path, tmp_path: Path) -> None:
    opened = open_base(str(base))
    transformer = opened.load_transformer(torch.float32)
    save_file({name: value * 0.1 for name, value in FAMILIES["musubi"].items()}, tmp_path / "style.safetensors")
    given = {
        "hidden_states": torch.randn(1, 24, 3, 8, 8),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, 16, 64),
        "control_hidden_states": torch.randn(1, 112, 3, 8, 8),
        "return_dict": False,
    }
    with torch.no_grad():
        bare = transformer(**given)[0]
        load_further_lora(transformer, *read_further_lora(opened, tmp_path / "style.safetensors"), "lora_0")
        set_lora_scale(transformer, 0.0, {"lora_0": 1.0})
        styled = transformer(**given)[0]
        set_lora_scale(transformer, 0.0, {"lora_0": 0.0})
        off = transformer(**given)[0]
    assert not torch.allclose(bare, styled)
    assert torch.equal(bare, off)
    wide = {name: torch.ones(4, 1536) if "down" in name else torch.ones(1536, 4) for name in FAMILIES["comfyui"]}
    wide = {name: value for name, value in wide.items() if "alpha" not in name}
    save_file({name: value.clone() for name, value in wide.items()}, tmp_path / "wide.safetensors")
    with pytest.raises(UserError, match=r"^task.loras: .*wide.safetensors: is for a base with 1536 numbers"):
        read_further_lora(opened, tmp_path / "wide.safetensors")
