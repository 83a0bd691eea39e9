"""What is needed is said before anything is loaded, and holds."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError, explain_errors
from facesmith.methods.video_lora import memory_check
from facesmith.methods.video_lora.base import open_base
from facesmith.methods.video_lora.lora import add_lora
from facesmith.methods.video_lora.memory_estimate import (
    AdapterSize,
    ClipShape,
    FrozenWeights,
    count_block_weights,
    count_stored_weights,
    count_weights,
    latents_bytes,
    sequence_length,
    step_operations,
    training_step_bytes,
    waiting_bytes,
    weights_bytes,
)
from facesmith.methods.video_lora.networks import FaceTransformer, add_face_attention

Settings = Callable[..., TrainConfig]
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


@pytest.mark.parametrize("decoupled", [False, True])
def test_count_weights_equals_loaded_transformer(base: Path, decoupled: bool) -> None:
    opened = open_base(str(base))
    frozen, trained = count_weights(opened, AdapterSize(4, TARGETS, True, decoupled, 10))
    transformer = opened.load_transformer(torch.float32, FaceTransformer if decoupled else None)
    assert frozen == sum(p.numel() for p in transformer.parameters())
    assert frozen == count_stored_weights(opened.folder / "transformer")
    add_lora(transformer, rank=4, alpha=4, dropout=0.0, targets=TARGETS, vace_blocks=True)
    if decoupled:
        add_face_attention(transformer)
    assert trained == 10 + sum(p.numel() for p in transformer.parameters() if p.requires_grad)


def write_wan_config(tmp_path: Path, **changes: Any) -> Any:
    """Return the real 1.3B's configuration, with changes, without weights."""
    import json

    transformer = {
        "_class_name": "WanVACETransformer3DModel",
        "patch_size": [1, 2, 2],
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 4096,
        "freq_dim": 256,
        "ffn_dim": 8960,
        "num_layers": 30,
        "vace_layers": list(range(0, 30, 2)),
        "vace_in_channels": 96,
        **changes,
    }
    for part in ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / part).mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(transformer))
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKLWan", "base_dim": 96}))
    return open_base(str(tmp_path))


def test_training_step_bytes_of_wan_1_3b(tmp_path: Path) -> None:
    base, shape = write_wan_config(tmp_path), ClipShape(65, 480, 832)
    adapter = AdapterSize(64, TARGETS, False, False, 0)
    assert sequence_length(base, shape) == 17 * 30 * 52
    assert count_weights(base, adapter)[0] == pytest.approx(2.15e9, rel=0.02)

    def need(**changed: Any) -> float:
        kept = {name: changed.pop(name) for name in ("storage", "streamed") if name in changed}
        frozen = FrozenWeights(torch.bfloat16, **kept)
        given = {"checkpointing": True, "offloaded": False, "optimizer": "adamw", **changed}
        return training_step_bytes(base, shape, adapter, frozen, **given) / 1e9

    assert 9 < need() < 18
    assert need(checkpointing=False) > 100
    kept, gradients = 30 * 26520 * 1536 * 2, 4 * count_weights(base, adapter)[1]
    assert need(offloaded=True) == pytest.approx(need() - (kept - gradients) / 1e9)
    assert need(storage="float8") == pytest.approx(need() - 2.15, abs=0.2)
    assert latents_bytes(base, {(65, 480, 832): 10}, 2) == 10 * 2 * 4 * 16 * 17 * 60 * 104


def test_streamed_weights_are_two_blocks(tmp_path: Path) -> None:
    base = write_wan_config(tmp_path)
    transformer = base.empty_transformer(FaceTransformer)
    blocks = [*transformer.blocks, *transformer.vace_blocks]
    counts = [sum(p.numel() for p in block.parameters()) for block in blocks]
    assert count_block_weights(base) == (sum(counts), max(counts))
    whole, streamed = FrozenWeights(torch.bfloat16), FrozenWeights(torch.bfloat16, streamed=True)
    assert weights_bytes(base, streamed) == weights_bytes(base, whole) - 2 * sum(counts) + 4 * max(counts)
    assert waiting_bytes(base, streamed) == 2 * sum(counts)
    assert waiting_bytes(base, whole) == 0


def test_14b_preset_fits_a_card_of_24_gb_on_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layout = {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40, "vace_layers": list(range(0, 40, 5))}
    base = write_wan_config(tmp_path, **layout)
    person = ["data.faces=photos", "data.videos=dances", "data.name=ada", "data.consent=self"]
    given = ["experiment=video_lora_14b", f"model.base={tmp_path}", *person]
    config = load_config("train", TrainConfig, given, run=tmp_path / "run")
    model: Any = config.model
    data: Any = config.data
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (23.5e9, 24e9))
    monkeypatch.setattr(memory_check, "free_memory", lambda: 40e9)
    with caplog.at_level("INFO"):
        memory_check.check_training_memory(base, model, data)
    assert re.search(r"needs about 19\.\d GB of GPU memory for 33 frames at 480x832 \(steps\)", caplog.text)
    plain = model.model_copy(update={"stream_blocks": False, "base_storage": "as_computed", "offload": "none"})
    with pytest.raises(UserError, match=r"float8, model.offload=activations, model.stream_blocks=true$"):
        memory_check.check_training_memory(base, plain, data)
    monkeypatch.setattr(memory_check, "free_memory", lambda: 10e9)
    with pytest.raises(UserError, match=r"of weights wait in CPU memory, 10.0 GB are free"):
        memory_check.check_training_memory(base, model, data)
    with pytest.raises(UserError, match=r"model.base_storage=nf4, model.optimizer.kind=adamw_8bit|base_storage=nf4"):
        memory_check.check_training_memory(base, plain, data)


def test_describe_duration_of_wan_1_3b(tmp_path: Path) -> None:
    base, shape = write_wan_config(tmp_path), ClipShape(65, 480, 832)
    one = step_operations(base, shape, checkpointing=True)
    # 2.15e9 weights and 26520 tokens: 1.1e14 in matrices, 1.9e14 in attention, three times
    assert one == pytest.approx(3 * (1.14e14 + 1.94e14), rel=0.03)
    assert step_operations(base, ClipShape(65, 480, 832, 2), checkpointing=False) == pytest.approx(one * 4 / 3)
    photos = [step_operations(base, ClipShape(65, 480, 832, photos=n), checkpointing=True) / one for n in (1, 2, 3)]
    assert photos == pytest.approx([1.10, 1.20, 1.31], abs=0.006)  # as docs/video_lora.md says
    line = memory_check.describe_duration(base, shape, checkpointing=True, steps=5600)
    assert line.startswith("5600 steps of 926 TFLOP: about 18")
    assert "on an RTX 4090 (80 TFLOPS), without validations" in line


def test_check_training_memory_suggests_settings(
    demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo(tmp_path, "data.num_frames=17", "model.optimizer.kind=adamw")
    module: Any = config.model.build()
    for free, mend in ((1e9, None), (3e7, "try model.gradient_checkpointing=true"), (1e3, "a smaller data.height")):
        monkeypatch.setattr(memory_check, "free_memory", lambda free=free: free)
        if mend is None:
            memory_check.check_training_memory(module.base, module.config, config.data)
            continue
        with pytest.raises(UserError, match=r"needs about \d+(\.\d)? [MG]B of memory for 17 frames at 64x64") as caught:
            memory_check.check_training_memory(module.base, module.config, config.data)
        assert mend in str(caught.value)
    data: Any = config.data.build()
    data.trainer = SimpleNamespace(precision="32-true", lightning_module=module)
    with pytest.raises(UserError, match="you have 0 MB"):
        data.prepare_data()
    with pytest.raises(UserError, match=r"its text encoder needs .* of memory, 0 MB are free; close other programs"):
        memory_check.place_text_encoder(module.base)


def test_free_memory_counts_shell_limit() -> None:
    reader, writer = os.pipe()
    if not (child := os.fork()):
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, used + 300_000_000))
        free = memory_check.free_memory()
        with pytest.raises(UserError) as caught, explain_errors(SimpleNamespace(data=SimpleNamespace(num_frames=65))):
            torch.zeros(1 << 28)
        os.write(writer, f"{free:.0f} {caught.value}".encode())
        os._exit(0)
    os.close(writer)
    free, line = os.read(reader, 4096).decode().split(" ", 1)
    os.waitpid(child, 0)
    assert 2e8 < float(free) <= 3e8
    assert line.startswith(
        "out of memory, 1073741824 bytes more were requested; settings that cost memory: data.num_frames=65"
    )


def test_check_training_memory_gives_freed_memory_back_where_it_is_scarce(
    demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = demo(tmp_path)
    module: Any = config.model.build()
    given_back: list[float] = []
    for free in (1e11, 2e8):
        monkeypatch.setattr(memory_check, "free_memory", lambda free=free: free)
        monkeypatch.setattr(memory_check, "return_freed_memory", lambda free=free: given_back.append(free))
        with caplog.at_level("INFO"):
            memory_check.check_training_memory(module.base, module.config, config.data)
    assert "you have 0.2 GB" in caplog.text
    assert given_back == [2e8]


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc's allocator")
def test_return_freed_memory_leaves_no_holes() -> None:
    """In processes of their own: what other tests freed would hold some of the tensors."""
    script = """
import os, psutil, torch
from facesmith.methods.video_lora import memory_check
for prepare in (memory_check.return_freed_memory, dict):
    if not os.fork():
        prepare()
        torch.ones(1 << 22)  # from here on glibc would keep all that is smaller
        kept = [torch.ones(1 << 20) for _ in range(40)]
        before = psutil.Process().memory_info().rss
        del kept[::2]
        print((before - psutil.Process().memory_info().rss) / (20 * 4 * 2**20), flush=True)
        os._exit(0)
    os.wait()
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    given_back, by_default = map(float, run.stdout.split())
    assert given_back > 0.8
    assert by_default < 0.2


def test_check_disk_space_full_disk_raises(tmp_path: Path) -> None:
    memory_check.check_disk_space(tmp_path / "new" / "cache", 1e6, "latents", "data.cache")
    with pytest.raises(
        UserError, match=r"data.cache=.*: latents of 9 clips take about 9{9}\.9 GB|take about 1000000000"
    ):
        memory_check.check_disk_space(tmp_path / "new" / "cache", 1e18, "latents of 9 clips", "data.cache")


def test_count_checkpoints_by_folder(tmp_path: Path) -> None:
    from lightning import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    kept = [
        ModelCheckpoint(tmp_path, every_n_epochs=10, save_top_k=-1),
        ModelCheckpoint(tmp_path, monitor="a", save_top_k=1),
    ]
    trainer = Trainer(max_epochs=25, callbacks=kept, logger=False, enable_progress_bar=False, accelerator="cpu")
    assert memory_check.count_checkpoints(trainer) == {tmp_path: 3 + 1 + 2}
