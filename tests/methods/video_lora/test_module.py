"""A short real training: the cache fills once, the adapter learns, a checkpoint is small and whole."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from facesmith.cli.preflight import _unknown_metrics
from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.methods.video_lora.lora import select_lora_layers, set_lora_scale
from facesmith.methods.video_lora.module import VideoLoraModule
from facesmith.models.checkpoint import load_module, read_checkpoint

from .stock import load_two_clips, memorise

Settings = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def run(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two epochs, the second with the mapper frozen."""
    folder = tmp_path_factory.mktemp("run")
    score = train(
        demo(
            folder,
            "callbacks.freeze_mapper.after_epochs=1",
            "callbacks.checkpoint.every_n_epochs=1",
            "model.validation.vace_scale=0.5",
        )
    )
    assert score is not None
    return folder


def inputs(module: VideoLoraModule) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(2, 24, 3, 8, 8, generator=random),
        "timestep": torch.tensor([500.0, 900.0]),
        "control_hidden_states": torch.randn(2, 112, 3, 8, 8, generator=random),
        "return_dict": False,
    }


def test_run_writes_videos_table_and_metrics(run: Path) -> None:
    names = {path.name for path in (run / "renders").iterdir()}
    assert {"epoch_0000.png", "epoch_0002.png", "epoch_0002_dance_004_00000.mp4"} <= names
    assert (run / "clips.csv").read_text().count(",clip,") == 5
    (log,) = run.rglob("metrics.csv")
    heading = log.read_text().splitlines()[0]
    for name in (
        "before/loss",
        "val/loss",
        "val/likeness",
        "val/pose_agreement",
        "val/flicker",
        "train/mapper_frozen",
        "val/likeness_vace_scale_0.5",
    ):
        assert name in heading


def test_checkpoint_holds_mapper_and_lora_with_provenance(run: Path) -> None:
    checkpoint = read_checkpoint(run / "checkpoints" / "last.ckpt")
    names = set(checkpoint["state_dict"])
    assert all(name.startswith("mapper.") or ".lora_" in name for name in names)
    provenance = checkpoint["facesmith"]["provenance"]
    assert provenance["identity"] == "dancer"
    assert provenance["consent"] == "synthetic"
    assert len(provenance["embedding"]) == 768
    module = load_module(run / "checkpoints" / "last.ckpt")
    assert isinstance(module, VideoLoraModule)
    for name, value in module.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][name]), name


def test_module_without_tokens_and_lora_equals_base(run: Path) -> None:
    module = load_module(run / "checkpoints" / "last.ckpt")
    assert isinstance(module, VideoLoraModule)
    given, random = inputs(module), torch.Generator().manual_seed(1)
    batch = {
        "text": torch.cat([torch.randn(2, 10, 64, generator=random), torch.zeros(2, 6, 64)], 1),
        "face": torch.nn.functional.normalize(torch.randn(2, 768, generator=random), dim=1),
    }
    base = module.base.load_transformer(torch.float32)
    with torch.no_grad():
        bare = base(encoder_hidden_states=batch["text"], **given)[0]
        adapted = module.transformer(**module.conditioning(batch, 1.0), **given)[0]
        set_lora_scale(module.transformer, 0.0)
        silent = module.transformer(**module.conditioning(batch, 0.0), **given)[0]
        set_lora_scale(module.transformer, 1.0)
        again = module.transformer(**module.conditioning(batch, 1.0), **given)[0]
    assert torch.equal(bare, silent)
    assert not torch.equal(bare, adapted)
    assert torch.equal(adapted, again)


def test_freeze_mapper_stops_the_mapper(run: Path) -> None:
    one, two = (read_checkpoint(path) for path in sorted((run / "checkpoints").glob("epoch_*.ckpt")))
    for name, before in one["state_dict"].items():
        assert torch.equal(before, two["state_dict"][name]) == name.startswith("mapper."), name
    states = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, two)]
    assert states[0].keys() == states[1].keys()


def test_data_module_second_run_loads_no_encoder(
    run: Path, demo: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo(tmp_path)
    data: Any = config.data.build()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("an encoder was loaded")

    monkeypatch.setattr("facesmith.methods.video_lora.base.Base.load_vae", never)
    monkeypatch.setattr("facesmith.methods.video_lora.base.Base.load_text_encoder", never)
    monkeypatch.setattr("facesmith.methods.video_lora.base.Base.load_transformer", never)
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["latents"].shape == (8, 24, 3, 8, 8)
    assert int(batch["prior"].sum()) == 4
    whole = data.on_after_batch_transfer(batch, 0)
    assert whole["control"].shape == (8, 112, 3, 8, 8)
    assert float(batch["heads"].max()) == pytest.approx(1.0, abs=0.01)


def test_module_memorises_a_batch(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "data.prior=null", "model.loss.token_dropout=0")
    module, batch = load_two_clips(config)
    trained = [p for p in module.parameters() if p.requires_grad]
    losses = memorise(module, batch, torch.randn_like(batch["latents"]), trained, 25)
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for name, p in module.transformer.named_parameters() if "lora_" not in name)


def test_load_module_another_base_raises(run: Path, base: Path, tmp_path: Path) -> None:
    from facesmith.methods.video_lora.base import open_base

    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["facesmith"]["provenance"]["base_hash"] = "0" * 16
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"is another base than this checkpoint's"):
        load_module(tmp_path / "other.ckpt")
    assert open_base(str(base)).fingerprint != "0" * 16


def test_select_lora_layers_unknown_target_raises(base: Path) -> None:
    from facesmith.methods.video_lora.base import open_base

    transformer = open_base(str(base)).load_transformer(torch.float32)
    blocks = select_lora_layers(transformer, ["to_q", "ffn.net.2"], vace_blocks=False)
    assert len(blocks) == 6 * 3
    assert len(select_lora_layers(transformer, ["to_q", "ffn.net.2"], vace_blocks=True)) == 8 * 3
    assert select_lora_layers(transformer, ["attn2.to_k"], vace_blocks=False)[0] == "blocks.0.attn2.to_k"
    with pytest.raises(UserError, match=r"no layer is called to_qq; choose from attn1.to_q"):
        select_lora_layers(transformer, ["to_qq"], vace_blocks=False)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.height=60", r"data.height=60: must be a multiple of 16, such as 64"),
        ("data.prompt='" + "a person dancing " * 6 + "'", r"has 19 tokens, 12 fit beside 4 face tokens; shorten it"),
        ("data.holdout=[dance_009]", r"data.holdout: no video is called dance_009; there are dance_000"),
    ],
)
def test_prepare_data_wrong_settings_raises(
    run: Path, demo: Settings, tmp_path: Path, override: str, line: str
) -> None:
    config = demo(tmp_path, override)
    data: Any = config.data.build()
    if "prompt" in override:
        for text in data.config.videos.glob("*.txt"):
            text.rename(text.with_suffix(".kept"))
    try:
        with pytest.raises(UserError, match=line):
            data.prepare_data()
    finally:
        for text in data.config.videos.glob("*.kept"):
            text.rename(text.with_suffix(".txt"))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("model.mapper.embedding_size=128", r"embedding_size=128: the face encoder gives 768; set .*=768$"),
        pytest.param(
            "model.attention=cudnn",
            r"model.attention=cudnn: torch has no such kernel here \(float32 on cpu\); use model.attention=auto",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="cuDNN is there"),
        ),
        ("model.gate_tokens=false", r"model.gate_tokens=false: .* give data.trigger"),
        ("data.holdout=[dance_000,dance_001,dance_002,dance_003,dance_004]", r"leaves nothing to train on"),
    ],
)
def test_training_that_cannot_be_is_refused_before_clips_are_encoded(
    demo: Settings, tmp_path: Path, given: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesmith.methods.video_lora.data.encode_clips", lambda *_: pytest.fail("clips were encoded"))
    with pytest.raises(UserError, match=line):
        train(demo(tmp_path, given))


def test_training_of_no_epochs_validates_and_exports(demo: Settings, tmp_path: Path) -> None:
    objective = train(demo(tmp_path, "trainer.max_epochs=0"))
    assert isinstance(objective, float)
    assert (tmp_path / "exports" / "lora.safetensors").is_file()


def test_training_without_videos_and_a_monitor_that_needs_them_is_refused(demo: Settings, tmp_path: Path) -> None:
    config = demo(tmp_path, "model.validation.videos=0")
    assert config.model.metric_names() == {"loss", "loss_q0", "loss_q1"}
    problems = list(_unknown_metrics(config))
    assert problems == ["monitor=val/likeness: no such metric is measured; did you mean val/loss?"]


def test_training_leaves_profiling_ticks_ignored(base: Path, tmp_path: Path) -> None:
    """MediaPipe may be loaded first while it is trained, and Lightning brings back the handlers from before."""
    program = """
import signal, sys
from facesmith.cli.main import main
signal.signal(signal.SIGPROF, signal.SIG_DFL)
assert main(sys.argv[1:]) == 0
assert signal.getsignal(signal.SIGPROF) is signal.SIG_IGN
"""
    settings = ["data.clips=5", "data.photos=3", "data.holdout=[dance_004]", "data.prior=null", "logger=none"]
    settings += [f"model.base={base}", f"paths.face_sets={tmp_path}", f"paths.runs={tmp_path / 'runs'}"]
    settings += ["model.validation.steps=1", "model.validation.videos=1", "trainer.max_epochs=0"]
    words = ["train", "experiment=video_lora_demo", *settings]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
