"""Blocks wait elsewhere than where they compute: steps are the same bit for bit, two blocks at most are fetched."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanVACETransformer3DModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.video_lora.base import cast_rope_to_float
from facesmith.methods.video_lora.block_streaming import BlockStream, stream_blocks
from facesmith.methods.video_lora.lora import add_lora, without_lora
from facesmith.methods.video_lora.quantization import enable_storage_casting

Settings = Callable[..., TrainConfig]
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


def build_transformer(storage: Any = "as_computed") -> Any:
    """Return a random transformer of 6 blocks and 2 that follow poses, with a LoRA that computes something."""
    torch.manual_seed(0)
    transformer: Any = WanVACETransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        text_dim=16,
        freq_dim=16,
        ffn_dim=64,
        num_layers=6,
        vace_layers=[0, 2],
    )
    cast_rope_to_float(transformer).requires_grad_(False)
    add_lora(transformer, rank=2, alpha=2, dropout=0.2, targets=TARGETS, vace_blocks=False)
    for name, weight in transformer.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    enable_storage_casting(transformer, storage, torch.float32)
    transformer.enable_gradient_checkpointing()
    return transformer.train()


def take_step(transformer: Any) -> dict[str, Tensor]:
    """Let the base answer, then the adapted transformer; return both answers and all gradients."""
    torch.manual_seed(1)
    text = torch.randn(1, 4, 16, requires_grad=True)
    given = {
        "hidden_states": torch.randn(1, 16, 2, 4, 4),
        "timestep": torch.full((1,), 500.0),
        "encoder_hidden_states": text,
        "control_hidden_states": torch.randn(1, 96, 2, 4, 4),
        "return_dict": False,
    }
    with torch.no_grad(), without_lora(transformer):
        own = transformer(**given)[0]
    answer = transformer(**given)[0]
    (answer - own).square().mean().backward()
    trained = {name: weight.grad for name, weight in transformer.named_parameters() if weight.requires_grad}
    assert text.grad is not None
    return {"own": own, "answer": answer.detach(), "text": text.grad, **trained}


def record_fetches(stream: BlockStream, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Return the numbers of the blocks that are fetched, and how many bytes of fetched weights are there each time."""
    numbers: list[int] = []
    present: list[int] = []
    here = [0]
    fetch = stream._fetch

    def release(size: int) -> None:
        here[0] -= size

    def recording(number: int, device: torch.device) -> Any:
        fetched = fetch(number, device)
        for weight in fetched.weights:
            assert weight.device == device
            here[0] += weight.nbytes
            weakref.finalize(weight.untyped_storage(), release, weight.nbytes)
        numbers.append(number)
        present.append(here[0])
        return fetched

    monkeypatch.setattr(stream, "_fetch", recording)
    return numbers, present


@pytest.mark.parametrize("storage", ["as_computed", "float8"])
def test_streamed_step_equals_unstreamed_bit_for_bit(storage: str) -> None:
    expected = take_step(build_transformer(storage))
    transformer = build_transformer(storage)
    stream_blocks(transformer)
    assert not any(name.endswith("base_layer.weight") for name, _ in transformer.named_parameters())
    for _ in range(2):
        transformer.zero_grad()
        found = take_step(transformer)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert float(found["blocks.0.attn1.to_q.lora_A.face.weight"].abs().max()) > 0


def test_streamed_step_holds_two_blocks_and_fetches_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = build_transformer()
    stream = stream_blocks(transformer)
    block = max(sum(weight.nbytes for weight in waiting) for waiting in stream._waiting)
    numbers, present = record_fetches(stream, monkeypatch)
    take_step(transformer)
    forward = list(range(8))
    assert numbers == [*forward, *forward, *reversed(forward)]
    assert block < max(present) <= 2 * block


@pytest.mark.slow
def test_streamed_step_computes_on_one_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights wait on a second device, on which nothing else is: torch's model of devices refuses to mix the two."""
    transformer = build_transformer()
    with FakeTensorMode(allow_non_fake_inputs=True):
        for layer in transformer.modules():
            for name, weight in list(layer.named_parameters(recurse=False)):
                device = "cpu" if weight.requires_grad else "cuda"
                setattr(layer, name, nn.Parameter(torch.empty(weight.shape, device=device), weight.requires_grad))
        for part in (transformer.patch_embedding, transformer.vace_patch_embedding, transformer.condition_embedder):
            fetch_whole(part)
        fetch_whole(transformer.proj_out)
        transformer.scale_shift_table = nn.Parameter(transformer.scale_shift_table.to("cpu"), requires_grad=False)
        with pytest.raises(RuntimeError, match="device"):
            take_step(transformer)
        stream = stream_blocks(transformer)
        _, present = record_fetches(stream, monkeypatch)
        found = take_step(transformer)
    assert {value.device.type for value in found.values()} == {"cpu"}
    assert max(present) <= 2 * max(sum(weight.nbytes for weight in waiting) for waiting in stream._waiting)


def fetch_whole(part: nn.Module) -> None:
    """Put a part where the transformer computes."""
    for layer in part.modules():
        for name, weight in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(weight.to("cpu"), requires_grad=False))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.gradient_checkpointing=false", "needs gradient_checkpointing=true"),
        ("model.base_storage=nf4", "cannot move weights of base_storage=nf4; use float8 or as_computed"),
    ],
)
def test_stream_blocks_that_cannot_be_raises(demo: Settings, tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        demo(tmp_path, "model.gradient_checkpointing=true", "model.stream_blocks=true", override)


def test_stream_blocks_with_spread_weights_raises(demo: Settings, tmp_path: Path) -> None:
    module: Any = demo(tmp_path, "model.gradient_checkpointing=true", "model.stream_blocks=true").model.build()
    module._device_mesh = object()  # as trainer=fsdp sets it
    with pytest.raises(UserError, match=r"trainer=fsdp already spreads the blocks"):
        module.configure_model()
