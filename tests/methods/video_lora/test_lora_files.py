"""A LoRA is the same in every file it is kept in."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanVACEPipeline
from peft.utils import get_peft_model_state_dict

from facesmith.errors import UserError
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.export import convert_lora
from facesmith.methods.video_lora.lora import (
    NAME,
    add_lora,
    extract_lora,
    load_lora,
    save_comfy,
    save_lora,
    to_comfy,
)
from facesmith.methods.video_lora.lora_families import to_diffusers

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]


@pytest.fixture(scope="module")
def trained(base: Path) -> Any:
    """Return a transformer with a LoRA on plain and VACE blocks that changes something; alpha is not the rank."""
    transformer = open_base(str(base)).load_transformer(torch.float32)
    add_lora(transformer, rank=4, alpha=6, dropout=0.0, targets=TARGETS, vace_blocks=True)
    random = torch.Generator().manual_seed(5)
    for name, value in transformer.named_parameters():
        if "lora_B" in name:
            value.data = torch.randn(value.shape, generator=random) * 0.05
    return transformer


def answer(transformer: Any) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = transformer(
            hidden_states=torch.randn(1, 24, 3, 8, 8, generator=random),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 16, 64, generator=random),
            control_hidden_states=torch.randn(1, 112, 3, 8, 8, generator=random),
            return_dict=False,
        )[0]
    return found


def test_save_lora_loads_in_diffusers_pipeline(trained: Any, base: Path, tmp_path: Path) -> None:
    tensors, config = extract_lora(trained)
    assert len(tensors) == 8 * 10 * 2
    save_lora(tmp_path / "lora.safetensors", tensors, config, {"identity": "ada"})
    pipe = WanVACEPipeline.from_pretrained(base, transformer=open_base(str(base)).load_transformer(torch.float32))
    pipe.load_lora_weights(tmp_path / "lora.safetensors", adapter_name="stranger")
    loaded = pipe.transformer
    assert loaded.peft_config["stranger"].lora_alpha == 6
    mine = get_peft_model_state_dict(trained, adapter_name=NAME)
    theirs = get_peft_model_state_dict(loaded, adapter_name="stranger")
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(answer(trained), answer(loaded))


def test_to_comfy_and_back_keeps_tensors_and_alpha(trained: Any, tmp_path: Path) -> None:
    tensors, config = extract_lora(trained)
    renamed = to_comfy(tensors, config)
    assert "diffusion_model.vace_blocks.0.cross_attn.o.lora_up.weight" in renamed
    assert float(renamed["diffusion_model.blocks.5.ffn.2.alpha"]) == 6
    back, alphas = to_diffusers(renamed, tmp_path)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert set(alphas.values()) == {6.0}
    save_comfy(tmp_path / "comfy.safetensors", tensors, config, {"identity": "ada"})
    found, read_config, facts = load_lora(tmp_path / "comfy.safetensors")
    assert (read_config["r"], read_config["lora_alpha"], facts["identity"]) == (4, 6.0, "ada")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_to_comfy_keeps_the_scale_of_rslora(trained: Any, base: Path, tmp_path: Path) -> None:
    tensors, config = extract_lora(trained)
    save_lora(tmp_path / "lora.safetensors", tensors, {**config, "use_rslora": True}, {})
    convert_lora(tmp_path / "lora.safetensors", "comfyui", tmp_path / "out", None)
    convert_lora(tmp_path / "out" / "lora_comfyui.safetensors", "diffusers", tmp_path / "out", None)
    answers = []
    for file in ("lora.safetensors", "out/lora_comfyui_diffusers.safetensors"):
        pipe = WanVACEPipeline.from_pretrained(base, transformer=open_base(str(base)).load_transformer(torch.float32))
        pipe.load_lora_weights(tmp_path / file, adapter_name="stranger")
        answers.append(answer(pipe.transformer))
    assert torch.equal(*answers)
    assert not torch.equal(answers[0], answer(trained))


def test_load_lora_keeps_ranks_and_alphas_of_layers(tmp_path: Path) -> None:
    tensors = {
        "transformer.blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 8),
        "transformer.blocks.0.attn1.to_q.lora_B.weight": torch.ones(8, 2),
        "transformer.blocks.1.attn1.to_q.lora_A.weight": torch.ones(4, 8),
        "transformer.blocks.1.attn1.to_q.lora_B.weight": torch.ones(8, 4),
        "transformer.blocks.2.attn1.to_q.lora_A.weight": torch.ones(4, 8),
        "transformer.blocks.2.attn1.to_q.lora_B.weight": torch.ones(8, 4),
    }
    config = {"r": 4, "lora_alpha": 4, "alpha_pattern": {"blocks.0.attn1.to_q": 1.0}}
    save_comfy(tmp_path / "comfy.safetensors", tensors, config, {})
    _, found, _ = load_lora(tmp_path / "comfy.safetensors")
    assert (found["r"], found["rank_pattern"]) == (4, {"blocks.0.attn1.to_q": 2})
    assert (found["lora_alpha"], found["alpha_pattern"]) == (4.0, {"blocks.0.attn1.to_q": 1.0})


def test_load_lora_other_files_raises(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"unet.down.lora_A.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"is no layer of a Wan transformer|is no LoRA of a Wan transformer"):
        load_lora(tmp_path / "other.safetensors")
    save_file({"diffusion_model.blocks.0.norm.lora_A.weight": torch.ones(1)}, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"holds diffusion_model.blocks.0.norm.lora_A.weight, which is no layer"):
        load_lora(tmp_path / "odd.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"is no safetensors file"):
        load_lora(tmp_path / "text.safetensors")


def test_convert_lora_round_trip_is_exact_and_checks_the_base(trained: Any, base: Path, tmp_path: Path) -> None:
    tensors, config = extract_lora(trained)
    opened = open_base(str(base))
    facts = {"identity": "ada", "base": str(base), "base_hash": opened.fingerprint}
    save_lora(tmp_path / "lora.safetensors", tensors, config, facts)
    (told,) = convert_lora(tmp_path / "lora.safetensors", "comfyui", tmp_path / "out", str(base))
    assert told.endswith("ada_comfyui.safetensors: layers: 80, 20 of them in VACE blocks; rank 4, alpha 6")
    convert_lora(tmp_path / "out" / "ada_comfyui.safetensors", "diffusers", tmp_path / "out", str(base))
    again, read, same = load_lora(tmp_path / "out" / "ada_diffusers.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert (read["r"], read["lora_alpha"], same) == (4, 6, facts)
    pipe = WanVACEPipeline.from_pretrained(base, transformer=opened.load_transformer(torch.float32))
    pipe.load_lora_weights(tmp_path / "out" / "ada_diffusers.safetensors", adapter_name="stranger")
    assert torch.equal(answer(trained), answer(pipe.transformer))
    with pytest.raises(UserError, match=r"would write over"):
        convert_lora(tmp_path / "out" / "ada_diffusers.safetensors", "diffusers", tmp_path / "out", None)

    save_lora(tmp_path / "told.safetensors", tensors, config, {**facts, "base": "other", "base_hash": "0" * 16})
    with pytest.raises(UserError, match=r"was trained on other \(0{16}\), not on "):
        convert_lora(tmp_path / "told.safetensors", "comfyui", tmp_path / "out", str(base))
    wide = {name: torch.zeros(value.shape[0] * 2, value.shape[1] * 2) for name, value in tensors.items()}
    save_lora(tmp_path / "wide.safetensors", wide, config, {})
    with pytest.raises(UserError, match=r"is for a base with 288 numbers at blocks.0.attn1.to_k, .* has 144"):
        convert_lora(tmp_path / "wide.safetensors", "comfyui", tmp_path / "out", str(base))
    deep = {name.replace("blocks.5.", "blocks.25."): value for name, value in tensors.items()}
    save_lora(tmp_path / "deep.safetensors", deep, config, {})
    with pytest.raises(UserError, match=r"changes blocks.25.attn1.to_k, which .* does not have"):
        convert_lora(tmp_path / "deep.safetensors", "comfyui", tmp_path / "out", str(base))
    with pytest.raises(UserError, match=r"there is no such file"):
        convert_lora(tmp_path / "none.safetensors", "comfyui", tmp_path / "out", None)
