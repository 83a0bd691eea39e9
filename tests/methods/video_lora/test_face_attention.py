"""injection=decoupled: the face has keys and values of its own in every block."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter_bundle import load_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator
from facesmith.methods.video_lora.lora import add_lora, set_lora_scale
from facesmith.methods.video_lora.networks import FaceTransformer, add_face_attention, extract_face_attention
from facesmith.models.checkpoint import read_checkpoint

from .stock import generate_with_diffusers, load_two_clips, memorise

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two epochs with a validation before, between and after."""
    folder = tmp_path_factory.mktemp("run")
    assert train(demo(folder, "model.injection=decoupled", "data.repeats=4")) is not None
    return folder


def load_transformer(kind: type | None, base: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a transformer, its arguments without a face, and the face's."""
    random = torch.Generator().manual_seed(0)
    arguments = {
        "hidden_states": torch.randn(2, 24, 3, 8, 8, generator=random),
        "timestep": torch.tensor([500.0, 900.0]),
        "encoder_hidden_states": torch.randn(2, 16, 64, generator=random),
        "control_hidden_states": torch.randn(2, 112, 3, 8, 8, generator=random),
        "return_dict": False,
    }
    face = {"face_tokens": torch.randn(2, 4, 64, generator=random), "face_scale": torch.tensor([1.0, 0.5])}
    return open_base(str(base)).load_transformer(torch.float32, kind), arguments, face


def randomize_adapters(transformer: Any) -> None:
    """Give what starts at zero weights that change something."""
    random = torch.Generator().manual_seed(2)
    for name, value in transformer.named_parameters():
        if ".processor.to_v" in name or "lora_B" in name:
            value.data = torch.randn(value.shape, generator=random) * 0.1


def test_face_attention_untrained_or_without_tokens_equals_base(base: Path) -> None:
    stock, arguments, _ = load_transformer(None, base)
    faced, _, face = load_transformer(FaceTransformer, base)
    add_lora(faced, rank=4, alpha=4, dropout=0.0, targets=["to_k", "to_v"], vace_blocks=True)
    assert sum("lora_A" in name for name, _ in faced.named_parameters()) == 2 * 2 * (6 + 2)
    add_face_attention(faced)
    with torch.no_grad():
        expected = stock(**arguments)[0]
        assert torch.equal(faced(**arguments, attention_kwargs=face)[0], expected)
        randomize_adapters(faced)
        set_lora_scale(faced, 0.0)
        strong = faced(**arguments, attention_kwargs=face)[0]
        assert torch.equal(faced(**arguments)[0], expected)
        with faced.cache_context("uncond"):
            assert torch.equal(faced(**arguments, attention_kwargs=face)[0], expected)
        halves = {**face, "face_scale": face["face_scale"] * 0.5}
        weak = faced(**arguments, attention_kwargs=halves)[0]
    moved = [float((one - expected).abs().mean()) for one in (weak, strong)]
    assert 0 < moved[0] < moved[1]


def test_face_attention_checkpointing_same_gradients(base: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        transformer, arguments, face = load_transformer(FaceTransformer, base)
        add_face_attention(transformer)
        randomize_adapters(transformer)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        tokens = face["face_tokens"].clone().requires_grad_()
        answer = transformer(**arguments, attention_kwargs={**face, "face_tokens": tokens})[0]
        with torch.no_grad():
            transformer(**arguments)  # as the prior's target does: nothing of it may reach the backward pass
        answer.square().mean().backward()
        keys = [value.grad for name, value in transformer.named_parameters() if ".processor." in name]
        assert all(grad is not None and float(grad.abs().sum()) > 0 for grad in keys)
        gradients.append([tokens.grad, *keys])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_decoupled_run_exports_and_checkpoint_generate_the_same(
    run: Path, demo: Settings, base: Path, tmp_path: Path
) -> None:
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    layers = [name for name in state if ".attn2.processor." in name]
    assert len(layers) == 6 * 3
    assert all(float(state[name].abs().sum()) > 0 for name in layers)
    (folder,) = run.glob("exports")
    ours, theirs = load_bundle(folder), load_bundle(run / "checkpoints" / "last.ckpt")
    assert ours.injection == theirs.injection == ours.facts["injection"] == "decoupled"
    assert ours.attention is not None
    assert theirs.attention is not None
    assert ours.attention.keys() == theirs.attention.keys()
    assert all(torch.equal(ours.attention[name], theirs.attention[name]) for name in ours.attention)
    assert all(torch.equal(ours.lora[name], theirs.lora[name]) for name in theirs.lora)
    assert all(
        torch.equal(weight, theirs.mapper.state_dict()[name]) for name, weight in ours.mapper.state_dict().items()
    )
    data: Any = demo(tmp_path).data.build()
    data.prepare_data()
    data.setup("fit")
    poses = data.validation_clip(0).poses
    prompt, negative = data.config.prompt, data.config.negative_prompt
    generated = []
    for bundle in (ours, theirs):
        generator = VideoGenerator(open_base(str(base)), bundle, scheduler="base", offload="none")
        generated += [
            generator.generate(poses, GenerationConfig(prompt, negative, *scales, 1.0, 2.0, 2), 42)
            for scales in ((1.0, 1.0), (0.0, 0.0))
        ]
    stock = generate_with_diffusers(base, poses, prompt, negative)
    # a file's weights begin anywhere in memory, a checkpoint's at multiples of 64 bytes: kernels sum in another order
    assert np.abs(generated[0].astype(int) - generated[2]).max() <= 1
    assert np.array_equal(generated[1], stock)
    assert not np.array_equal(generated[0], generated[1])
    (folder / "face_attention.safetensors").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"lacks face_attention.safetensors"):
        load_bundle(folder)


def test_decoupled_module_memorises_a_batch_through_the_face(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "model.injection=decoupled", "data.prior=null")
    module, batch = load_two_clips(config)
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(batch["latents"].shape, generator=random)
    faces = [value for name, value in module.named_parameters() if name.startswith("mapper") or ".processor." in name]
    losses = memorise(module, batch, noise, faces, 20)
    assert losses[-1] < 0.9 * losses[0]
    assert extract_face_attention(module.transformer) is not None
