"""A scene is learnt beside a base that stays as it is: judged, saved, rebuilt, exported, resumed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from lightning import Trainer

from facesmith.config.schema import TrainConfig
from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.media.video import open_video
from facesmith.methods.swap_lora.module import SwapLoraModule
from facesmith.models.adapters import store
from facesmith.models.adapters.lora import base_hash, without_lora
from facesmith.models.checkpoint import load_module, read_checkpoint
from facesmith.models.onnx.export import export

Settings = Callable[..., TrainConfig]
Fit = Callable[..., Trainer]


@pytest.fixture(scope="module")
def run(fit: Fit, lora: Settings, places: Path) -> Path:
    folder = places / "run"
    fit(lora(folder, "trainer.max_epochs=2", "data.shares.prior=1", "callbacks.export=null"), folder)
    return folder


def test_swap_lora_module_logs_base_and_adapter(run: Path) -> None:
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    (gate,) = [row for row in rows if row["val/judge_distance"]]
    for prefix in ("base", "val", "base_holdout", "val_holdout"):
        assert 0 < float(gate[f"{prefix}/nme"]) < 1
    assert gate["base/judge_distance"] != gate["val/judge_distance"]
    assert float(gate["before_holdout/unsteadiness"]) > 0
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 10  # nine faces, two a batch, twice
    assert {"train/loss_light", "train/loss_temporal", "train/loss_prior"} <= rows[0].keys()


def test_swap_lora_module_adapter_is_small_and_names_its_base(run: Path, base: Path, places: Path) -> None:
    tensors, card = store.load_adapter(run / "adapter")
    generator = load_module(base / "checkpoints/best.ckpt").generator
    assert card.base.sha256 == base_hash(generator)
    assert (card.base.kind, card.base.generator, card.base.embedder) == ("checkpoint", "MeshWarp", "sface")
    assert (card.identity, card.consent.kind, card.rank, card.steps) == ("carphone", "public_domain", 4, 10)
    assert (places / "face_sets/carphone/scenes" / card.scene.key[:12] / "meta.json").exists()
    assert {"base_holdout/judge_distance", "val_holdout/judge_distance"} <= set(card.figures)
    whole = sum(value.numel() for value in generator.state_dict().values())
    assert sum(value.numel() for value in tensors.values()) < 0.05 * whole


def test_swap_lora_module_checkpoint_holds_lora_and_rebuilds_both(run: Path, base: Path) -> None:
    record = read_checkpoint(run / "checkpoints/last.ckpt")
    kept = [name for name in record["state_dict"] if name.startswith("generator.")]
    assert kept
    assert all(".lora_" in name for name in kept)
    module = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(module, SwapLoraModule)
    frozen = load_module(base / "checkpoints/best.ckpt").generator
    target = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        own = frozen(target).face
        with without_lora(module.generator):
            assert torch.equal(module.generator(target).face, own)
        assert not torch.allclose(module.generator(target).face, own, atol=1e-5)


def test_swap_lora_module_export_spec_is_merged(run: Path) -> None:
    spec = load_module(run / "checkpoints/last.ckpt").export_spec()
    assert not any(".lora_" in name for name in spec.module.state_dict())
    assert spec.metadata["identity"] == "carphone"


@pytest.mark.slow
def test_swap_lora_module_merged_onnx_equals_torch(run: Path, tmp_path: Path) -> None:
    spec = load_module(run / "checkpoints/last.ckpt").export_spec()
    path = export(spec, tmp_path / "merged.onnx").path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    target = np.stack([read_image(run / "renders/epoch_0002.png")[24:152, :128]])
    feed = target.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    with torch.no_grad():
        wanted, _ = spec.module(torch.from_numpy(feed))
    assert np.abs(session.run(["output"], {"target": feed})[0] - wanted.numpy()).max() < 1e-4


def test_swap_lora_module_video_shows_the_tail(run: Path) -> None:
    with open_video(run / "renders/epoch_0002_tail.mp4") as film:
        assert len(film) == 3
    assert read_image(run / "renders/epoch_0002.png").shape[1] == 4 * 132


def test_swap_lora_module_other_base_is_refused(run: Path, base: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    other = torch.load(base / "checkpoints/best.ckpt", weights_only=True)
    other["state_dict"]["generator.relight.stem.0.weight"] += 1e-3
    torch.save(other, tmp_path / "other.ckpt")
    checkpoint["facesmith"]["settings"]["base"] = str(tmp_path / "other.ckpt")
    torch.save(checkpoint, tmp_path / "adapter.ckpt")
    with pytest.raises(UserError, match=r"is not the base that this adapter was trained on"):
        load_module(tmp_path / "adapter.ckpt")


def test_swap_lora_module_batch_norm_stays_in_eval(lora: Settings, tmp_path: Path) -> None:
    module = lora(tmp_path).model.build().train()
    assert not any(layer.training for layer in module.generator.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)


def test_swap_lora_module_unknown_layers_are_refused(lora: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.targets: no layer is called decoder"):
        lora(tmp_path, "model.targets=[decoder]").model.build()


@pytest.mark.parametrize("rank", [2, 200])
def test_swap_lora_module_rank_out_of_range_is_refused(lora: Settings, tmp_path: Path, rank: int) -> None:
    with pytest.raises(UserError, match=r"^model\.rank=.*(4|128)"):
        lora(tmp_path, f"model.rank={rank}")


@pytest.mark.slow
def test_swap_lora_module_resume_equals_uninterrupted(fit: Fit, lora: Settings, tmp_path: Path) -> None:
    short = ["callbacks.export=null", "callbacks.adapter=null", "callbacks.videos=null", "trainer.max_epochs=2"]
    often = ["callbacks.last.every_seconds=null", "callbacks.last.every_steps=3", "model.loss.identity_from=0"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    fit(lora(whole, *short, *often), whole)
    with pytest.raises(RuntimeError, match="killed"):
        fit(lora(cut, *short, *often), cut, killed_at=7)
    fit(lora(cut, *short, *often), cut, cut / "checkpoints/last.ckpt")
    one, two = (read_checkpoint(folder / "checkpoints/last.ckpt") for folder in (whole, cut))
    assert one["global_step"] == two["global_step"] == 10
    for kind in ("state_dict", "current_model_state"):
        for name, value in one[kind].items():
            assert torch.equal(value, two[kind][name]), name


@pytest.mark.slow
def test_swap_lora_module_aad_base_learns_a_scene(fit: Fit, identity: Settings, lora: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "aad"
    fit(identity(folder, "model/generator=aad_fast", "trainer.max_epochs=1"), folder)
    run = tmp_path / "run"
    likeness = [f"model.loss.identity{key}" for key in ("=0.3", "_from=0", "_share=0.5")]
    trainer = fit(lora(run, f"model.base={folder}", "trainer.max_epochs=1", "model.loss.ramp=0", *likeness), run)
    assert np.isfinite(float(trainer.callback_metrics["train/loss_identity"]))
    card = json.loads((run / "adapter/adapter.json").read_text())
    assert card["base"]["generator"] == "Aad"
    assert all(name.startswith(("blocks.", "face", "mask")) for name in card["targets"])
