"""What is exported computes the same, at sizes it was not traced with."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from diffusers import WanVACETransformer3DModel

from facesmith.errors import UserError
from facesmith.methods.video_lora import export
from facesmith.methods.video_lora.adapter_bundle import AdapterBundle, collect_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.export import export_graphs, export_mapper, export_transformer
from facesmith.methods.video_lora.lora import add_lora
from facesmith.methods.video_lora.networks import FaceMapper, FaceTransformer, add_face_attention


def make_bundle(base: Path, decoupled: bool = False) -> AdapterBundle:
    """Return one whose LoRA, and whose face's layers, change something."""
    opened = open_base(str(base))
    transformer: Any = opened.load_transformer(torch.float32, FaceTransformer if decoupled else None)
    add_lora(transformer, rank=2, alpha=4, dropout=0.0, targets=["attn2.to_q"], vace_blocks=True)
    if decoupled:
        add_face_attention(transformer)
    for name, value in transformer.named_parameters():
        if "lora_B" in name or "processor.to_v" in name:
            value.data = torch.randn(value.shape) * 0.1
    facts = {
        "identity": "ada",
        "embedding": [0.0] * 768,
        "base": str(base),
        "base_hash": opened.fingerprint,
        "text_length": 16,
        "injection": "decoupled" if decoupled else "tail",
    }
    return collect_bundle(transformer, FaceMapper(768, [32], 4, opened.text_width, 0.1), facts)


def test_export_mapper_equals_torch_and_states_identity(base: Path, tmp_path: Path) -> None:
    found = export_mapper(make_bundle(base), tmp_path / "mapper.onnx", 18)
    assert found.difference < 1e-4
    metadata = {one.key: one.value for one in onnx.load(str(found.path)).metadata_props}
    assert (metadata["identity"], metadata["base"]) == ("ada", str(base))


def test_export_transformer_too_little_memory_raises(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "free_memory", lambda: 1e6)
    with pytest.raises(UserError, match=r"needs about 32 MB of memory, you have 1 MB; .* to=onnx_mapper"):
        export_transformer(make_bundle(base), str(base), tmp_path / "transformer.onnx", 18)


@pytest.mark.slow
def test_export_graphs_writes_mapper_and_transformer(base: Path, tmp_path: Path) -> None:
    make_bundle(base).save(tmp_path / "exports")
    lines = export_graphs(tmp_path / "exports", "onnx", tmp_path / "onnx", None, 18)
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in lines] == ["mapper.onnx", "transformer.onnx"]
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"mapper.onnx", "transformer.onnx"}


@pytest.mark.slow
def test_export_transformer_decoupled_weights_beside_graph(base: Path, tmp_path: Path) -> None:
    split = export_transformer(make_bundle(base, decoupled=True), str(base), tmp_path / "b.onnx", 18, most_inside=1e6)
    assert split.data == tmp_path / "b.onnx.data"
    assert split.path.stat().st_size < 5e6 < 1e7 < split.data.stat().st_size
    assert split.difference < 1e-4
    asked = [one.name for one in onnx.load(str(split.path), load_external_data=False).graph.input]
    assert asked == ["latents", "timestep", "text", "control", "face_tokens", "face_scale"]


@pytest.mark.slow
def test_export_transformer_above_two_gigabytes(base: Path, tmp_path: Path) -> None:
    """2.4 GB of random weights in the shape of a Wan transformer."""
    folder = tmp_path / "base"
    folder.mkdir()
    for part in base.iterdir():
        if part.name != "transformer":
            (folder / part.name).symlink_to(part)
    WanVACETransformer3DModel(
        num_attention_heads=16,
        attention_head_dim=128,
        text_dim=64,
        ffn_dim=8192,
        num_layers=7,
        vace_layers=[0, 3],
    ).save_pretrained(folder / "transformer")
    found = export_transformer(make_bundle(folder), str(folder), tmp_path / "transformer.onnx", 18)
    assert found.data is not None
    assert found.size > 2.2e9
    assert found.difference < 1e-3
