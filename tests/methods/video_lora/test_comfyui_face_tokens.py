"""The node for ComfyUI, without ComfyUI: by the mappers it reads and the rows it writes."""

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.methods.video_lora import comfyui_face_tokens as node
from facesmith.methods.video_lora.adapter_bundle import MAPPER, AdapterBundle, load_bundle
from facesmith.methods.video_lora.export import convert_lora
from facesmith.methods.video_lora.networks import FaceMapper, insert_face_tokens
from facesmith.methods.video_lora.text_encoding import pad_rows

FACTS = {
    "identity": "ada",
    "consent": "synthetic",
    "encoder": "clip",
    "base": "wan",
    "base_hash": "0",
    "text_length": 16,
}
LORA = {f"transformer.blocks.0.attn1.to_q.lora_{half}.weight": torch.ones(4, 4) for half in "AB"}
CONFIG = {"r": 4, "lora_alpha": 4}


def unit(seed: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(seed)), dim=0)


def make_bundle(**facts: Any) -> AdapterBundle:
    torch.manual_seed(3)
    mapper = FaceMapper(32, [24, 40], 4, 64, 0.5).eval()
    return AdapterBundle(dict(LORA), dict(CONFIG), mapper, unit(0), {**FACTS, **facts}, recognised=torch.zeros(128))


@pytest.fixture
def mapper_file(tmp_path: Path) -> Path:
    make_bundle().save(tmp_path)
    return tmp_path / "mapper.safetensors"


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the node find its files in a folder, as ComfyUI's own module would."""
    monkeypatch.setattr(node, "_find_file", lambda name: tmp_path / name)
    return tmp_path


def words(count: int, rows: int = 16) -> Tensor:
    return pad_rows(torch.randn(count, 64, generator=torch.Generator().manual_seed(count)), rows)[None]


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0, 1.7])
@torch.no_grad()
def test_node_writes_the_rows_of_insert_face_tokens(mapper_file: Path, comfyui: Path, scale: float) -> None:
    bundle, text = make_bundle(), words(7)
    (found,) = node.FacesmithFaceTokens().apply([[text, {"pooled_output": None}]], mapper_file.name, scale)
    tokens = bundle.mapper(bundle.embedding[None])
    wanted = insert_face_tokens(text, torch.tensor([scale])[:, None, None] * tokens)
    assert torch.equal(found[0][0], wanted)
    assert found[0][1] == {"pooled_output": None}
    assert torch.equal(wanted, text) == (scale == 0)


@torch.no_grad()
def test_node_profile_draws_another_face(mapper_file: Path, comfyui: Path) -> None:
    profile = IdentityProfile.create(
        id="ben",
        embedder="clip",
        embedding_mean=unit(1).numpy(),
        embedding_std=torch.zeros(32).numpy(),
        num_frames=1,
        consent="synthetic",
    )
    profile.save(comfyui / "ben.json")
    text = words(7)
    (found,) = node.FacesmithFaceTokens().apply([[text, {}]], mapper_file.name, 1.0, "ben.json")
    tokens = make_bundle().mapper(torch.tensor(profile.embedding_mean)[None])
    assert torch.equal(found[0][0], insert_face_tokens(text, tokens))


@pytest.mark.parametrize("rows", [7, 12, 14, 16, 40])
def test_write_tokens_any_padding_becomes_the_trained_length(rows: int) -> None:
    tokens = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(1))
    found = node.write_tokens(words(7, rows), tokens, 1.0, 16)
    assert torch.equal(found, insert_face_tokens(words(7), tokens))


def test_write_tokens_keeps_half_precision_as_training_rounds_it() -> None:
    tokens = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(1))
    text = words(7).to(torch.bfloat16).expand(2, -1, -1)
    scale = torch.tensor([0.3])[:, None, None]
    found = node.write_tokens(text, tokens, 0.3, 16)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, insert_face_tokens(text, (scale * tokens.to(text)).expand(2, -1, -1)))


def test_write_tokens_without_room_raises() -> None:
    tokens = torch.ones(1, 4, 64)
    node.write_tokens(words(12), tokens, 1.0, 16)
    with pytest.raises(ValueError, match="13 rows of words, 12 fit beside 4 face tokens; shorten the prompt"):
        node.write_tokens(words(13), tokens, 1.0, 16)
    with pytest.raises(ValueError, match=r"16 rows of words, 12 fit .* put this node once"):
        node.write_tokens(node.write_tokens(words(7), tokens, 1.0, 16), tokens, 1.0, 16)
    with pytest.raises(ValueError, match="rows of 64 numbers, the face tokens 32"):
        node.write_tokens(words(7), torch.ones(1, 4, 32), 1.0, 16)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"injection": "decoupled"}, "model.injection=decoupled, whose face attention ComfyUI has not"),
        ({"gate_tokens": False}, "without face tokens .model.gate_tokens=false.; leave this node out"),
        ({"expires": str(date.today() - timedelta(1))}, "the consent of ada ended on"),
        ({"expires": "soon"}, "the end of the consent is no date"),
        ({"text_length": 4}, "is damaged .4 tokens in 4 rows of text"),
        ({"text_length": 10**9}, "is damaged"),
    ],
)
def test_load_mapper_that_no_prompt_can_hold_raises(tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    make_bundle(**facts).save_mapper(tmp_path / "mapper.safetensors")
    with pytest.raises(ValueError, match=message):
        node.load_mapper(tmp_path / "mapper.safetensors")


def test_load_mapper_without_finite_tokens_raises(mapper_file: Path, tmp_path: Path) -> None:
    with safe_open(mapper_file, framework="pt") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    tensors["head.bias"][3] = float("nan")
    save_file(tensors, tmp_path / MAPPER, metadata=metadata)
    with pytest.raises(ValueError, match="NaN or infinity"):
        node.load_mapper(tmp_path / MAPPER)
    with pytest.raises(UserError, match=r"mapper.safetensors: is a damaged mapper \(it holds NaN or infinity\)"):
        load_bundle(tmp_path)


def test_load_mapper_other_files_raises(mapper_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lora.safetensors: holds no face tokens; give mapper.safetensors"):
        node.load_mapper(tmp_path / "lora.safetensors")
    (tmp_path / "text.safetensors").write_text("{}")
    with pytest.raises(ValueError, match="is no safetensors file"):
        node.load_mapper(tmp_path / "text.safetensors")
    shape = json.dumps(make_bundle().mapper.shape)
    for metadata in ({"mapper": shape, "facesmith": json.dumps(FACTS)}, {"mapper": "[" * 9999, "facesmith": "{}"}):
        save_file({"embedding": unit(0)}, tmp_path / "half.safetensors", metadata=metadata)
        with pytest.raises(ValueError, match=r"half.safetensors: is damaged"):
            node.load_mapper(tmp_path / "half.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedder": "dinov3"}, "was made with dinov3 .32 numbers., mapper.safetensors reads clip"),
        ({"embedding_mean": [1.0, 0.0]}, "was made with clip .2 numbers."),
        ({"embedding_mean": [float("nan")] * 32}, "is no identity profile"),
        ({"embedding_mean": "ada"}, "is no identity profile"),
        ({"expires": "2001-01-01"}, "the consent of ben ended on 2001-01-01"),
    ],
)
def test_read_profile_of_another_kind_raises(mapper_file: Path, changes: dict[str, Any], message: str) -> None:
    profile = {"id": "ben", "embedder": "clip", "embedding_mean": unit(1).tolist(), "expires": None, **changes}
    file = mapper_file.with_name("ben.json")
    file.write_text(json.dumps(profile))
    with pytest.raises(ValueError, match=message):
        node.read_profile(file, node.load_mapper(mapper_file))
    file.write_text("[]")
    with pytest.raises(ValueError, match="is no identity profile"):
        node.read_profile(file, node.load_mapper(mapper_file))


def test_convert_lora_to_comfyui_writes_tokens_and_a_node_that_needs_no_facesmith(tmp_path: Path) -> None:
    make_bundle().save(tmp_path / "exports")
    lines = convert_lora(tmp_path / "exports", "comfyui", tmp_path / "out", None)
    names = ["ada_comfyui.safetensors", "ada_face_tokens.safetensors", "facesmith_face_tokens.py", "ada_workflow.json"]
    assert [Path(line.split(":")[0]).name for line in lines] == names
    code = (
        "import sys; sys.modules['facesmith'] = None; from pathlib import Path; import facesmith_face_tokens as node; "
        "mapper = node.load_mapper(Path('ada_face_tokens.safetensors')); print(*mapper(mapper.embedding).shape, "
        "*node.NODE_CLASS_MAPPINGS)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path / "out", text=True)
    assert told.split() == ["1", "4", "64", "FacesmithFaceTokens"]


def links(workflow: dict[str, Any]) -> set[str]:
    return {given[0] for one in workflow.values() for given in one["inputs"].values() if isinstance(given, list)}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("photos", [0, 3])
def test_convert_lora_workflow_leads_from_the_prompt_to_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gated: bool, photos: int
) -> None:
    facts = {"prompt": "ohwx, dancing (fast)", "negative_prompt": "blurry", "references": photos, "fps": 12}
    make_bundle(gate_tokens=gated, base="Wan-AI/Wan2.1-VACE-14B-diffusers", **facts).save(tmp_path / "exports")
    convert_lora(tmp_path / "exports", "comfyui", tmp_path / "out", None)
    workflow = json.loads((tmp_path / "out" / "ada_workflow.json").read_text())
    assert links(workflow) == workflow.keys() - {"saved"}  # every node is used, and none is missing
    assert workflow["lora"]["inputs"]["lora_name"] == "ada_comfyui.safetensors"
    assert (workflow["prompt"]["inputs"]["text"], workflow["negative_prompt"]["inputs"]["text"]) == (
        r"ohwx, dancing \(fast\)",
        "blurry",
    )
    assert (workflow["video"]["inputs"]["fps"], "14B" in workflow["model"]["inputs"]["unet_name"]) == (12, True)
    assert ("photo" in workflow) == bool(photos)
    assert ("face_tokens" in workflow) == gated
    if gated:
        folders = type(
            "Folders", (), {"get_filename_list": staticmethod(lambda folder: ["ada_face_tokens.safetensors"])}
        )
        monkeypatch.setattr(node, "_folders", lambda: folders)
        inputs = node.FacesmithFaceTokens.INPUT_TYPES()
        given = workflow["face_tokens"]["inputs"]
        assert given.keys() == {**inputs["required"], **inputs["optional"]}.keys()
        assert given["mapper"] in inputs["required"]["mapper"][0]
        assert given["profile"] in inputs["optional"]["profile"][0]


def test_convert_lora_without_tokens_writes_no_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_bundle(gate_tokens=False).save(tmp_path / "exports")
    assert len(convert_lora(tmp_path / "exports" / "lora.safetensors", "comfyui", tmp_path / "file", None)) == 1
    assert len(convert_lora(tmp_path / "exports", "diffusers", tmp_path / "file", None)) == 1
    assert len(convert_lora(tmp_path / "exports", "comfyui", tmp_path / "out", None)) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ada_comfyui.safetensors",
        "ada_workflow.json",
    ]
    assert not caplog.records


def test_convert_lora_with_face_attention_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = make_bundle(injection="decoupled")
    attention = {"blocks.0.attn2.processor.to_k.weight": torch.zeros(4, 4)}
    AdapterBundle(bundle.lora, bundle.lora_config, bundle.mapper, bundle.embedding, bundle.facts, attention).save(
        tmp_path / "exports"
    )
    assert len(convert_lora(tmp_path / "exports", "comfyui", tmp_path / "out", None)) == 1
    assert "which only facesmith infer task=generate can load" in caplog.text
