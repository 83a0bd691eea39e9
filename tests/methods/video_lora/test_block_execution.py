"""Blocks compute the same compiled, by another attention kernel, and without gradients through the poses' branch."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.video_lora.adapter_bundle import collect_bundle, load_bundle
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.block_execution import choose_attention, compile_blocks, detach_pose_branch
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator

from .stock import load_two_clips
from .test_block_streaming import build_transformer, take_step

Settings = Callable[..., TrainConfig]


def test_detach_pose_branch_leaves_answer_and_lora_gradients() -> None:
    expected = take_step(build_transformer())
    transformer = build_transformer()
    detach_pose_branch(transformer)
    calls: Counter[int] = Counter()
    for number, block in enumerate(transformer.vace_blocks):
        block.attn1.register_forward_hook(lambda *_, number=number: calls.update([number]))
    found = take_step(transformer)
    text, own_text = found.pop("text"), expected.pop("text")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not torch.equal(text, own_text)
    assert calls == {0: 2, 1: 2}  # the base's answer and the adapted one: nothing is computed again


def test_choose_attention_math_answers_alike() -> None:
    expected = take_step(build_transformer())
    transformer = build_transformer()
    choose_attention(transformer, "math")
    assert {block.attn1.processor._attention_backend.value for block in transformer.blocks} == {"_native_math"}
    found = take_step(transformer)
    following = build_transformer()
    choose_attention(following, "auto")  # as of the next job of a sweep
    after = take_step(following)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
        assert torch.equal(after[name], value)
    assert any(not torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
def test_compiled_step_equals_eager(streamed: bool) -> None:
    expected = take_step(build_transformer())
    transformer = build_transformer()
    if streamed:
        stream_blocks(transformer)
    compile_blocks(transformer, backend="aot_eager")
    for _ in range(2):
        transformer.zero_grad()
        found = take_step(transformer)
        for name in ("own", "answer"):
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_lora_without_tokens_shows_the_person_alone(demo: Settings, tmp_path: Path) -> None:
    module, batch = load_two_clips(demo(tmp_path, "model.gate_tokens=false"))
    assert not any(weight.requires_grad for weight in module.mapper.parameters())
    assert module.conditioning(batch, 1.0).keys() == {"encoder_hidden_states"}
    flow = torch.randn_like(batch["latents"])
    prior = torch.tensor([False, True])
    target = module._target({**batch, "prior": prior}, batch["latents"], torch.tensor([0.5, 0.5]), flow, prior)
    assert torch.equal(target[0], flow[0])  # the person's clip is learnt without tokens
    assert not torch.equal(target[1], flow[1])  # the base's clip stays the base's
    provenance = {
        **{"identity": "ada", "consent": "synthetic", "gate_tokens": False, "injection": "tail", "people": {}},
        **{"base": module.base.name, "base_hash": module.base.fingerprint, "text_length": 16},
        **{"embedding": batch["face"][0].tolist(), "recognised": []},
    }
    collect_bundle(module.transformer, module.mapper, provenance).save(tmp_path)
    bundle = load_bundle(tmp_path)
    assert not bundle.gate_tokens
    generator = VideoGenerator(open_base(module.base.name), bundle, scheduler="base", offload="none")
    config = GenerationConfig("a person", "", 1.0, 1.0, 1.0, 1.0, 1)
    text = generator.conditioning(config)["encoder_hidden_states"]
    assert float(text[:, -4:].abs().max()) == 0


def test_gate_tokens_false_refuses_decoupled(demo: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no face tokens to attend to; use injection=tail"):
        demo(tmp_path, "model.gate_tokens=false", "model.injection=decoupled")
