"""Training end to end on real frames: it fits, is judged, saved, rebuilt, exported and profiled."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from lightning import Trainer, seed_everything
from skimage.data import astronaut

from facesmith.cli.composition import load_config
from facesmith.cli.export import export
from facesmith.cli.train import train
from facesmith.config.schema import ExportConfig, TrainConfig
from facesmith.errors import UserError
from facesmith.media.images import read_image
from facesmith.methods.swapper.module import SwapperModule
from facesmith.models.checkpoint import load_module, read_checkpoint
from facesmith.models.onnx.session import load_swapper
from facesmith.training.hardware import choose_precision

from ...last_screen import next_paths

Settings = Callable[..., TrainConfig]


def fit(config: TrainConfig, run: Path, **more: Any) -> Trainer:
    seed_everything(0, verbose=False)
    trainer: Trainer = config.trainer.build(
        precision=choose_precision(config.trainer.precision, config.trainer.accelerator),
        callbacks=[one.build() for one in config.callbacks.values() if one],
        logger=[one.build() for one in config.logger.values() if one],
        default_root_dir=run,
        **more,
    )
    trainer.fit(config.model.build(), config.data.build())
    return trainer


SHORT = ["trainer.max_epochs=2", "callbacks.progress.refresh_rate=0"]


@pytest.fixture(scope="module")
def run(tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(tiny(folder, *SHORT, "callbacks.render.every_n_epochs=2", "callbacks.export=null"))
    return folder


def test_swapper_module_logs_every_step_and_the_gate(run: Path) -> None:
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(14))
    untrained, gate = [row for row in rows if row["val/judge_distance"]]
    assert (untrained["step"], gate["step"]) == ("0", "13")
    assert float(gate["val/judge_distance"]) < float(untrained["before/judge_distance"])
    assert 0 < float(gate["val/ssim"]) < 1
    assert {"train/loss_light", "val/identity_similarity", "val/nme", "val/mask_iou"} <= rows[0].keys()


def test_swapper_module_writes_renders_and_profile(run: Path) -> None:
    grid = read_image(run / "renders/epoch_0002.png")
    assert grid.shape[1] == 4 * 132
    assert [path.name for path in sorted((run / "renders").iterdir())] == ["epoch_0000.png", "epoch_0002.png"]
    profile = json.loads((run / "profiles/carphone.json").read_text())
    assert profile["gate"]["val/judge_distance"] > 0
    assert profile["gate"]["before/judge_distance"] > profile["gate"]["val/judge_distance"]


def test_swapper_module_exported_swaps_as_its_checkpoint(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "checkpoints/last.ckpt"
    report = export(load_config("export", ExportConfig, [f"ckpt_path={checkpoint}", f"output={tmp_path}"]))
    assert report is not None
    assert report.path == tmp_path / "carphone.onnx"
    assert str(report.path) in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".hash", ".md"}
    assert report.parity <= 1e-4
    assert report.covered > 0.05
    crops = np.stack([astronaut()[40:168, 150:278], astronaut()[56:184, 160:288]])
    from_onnx, mask = load_swapper(report.path)(crops)
    from_checkpoint, _ = load_swapper(checkpoint)(crops)
    assert np.abs(from_onnx.astype(int) - from_checkpoint).max() <= 1
    assert (from_onnx[mask > 0.9] != crops[mask > 0.9]).mean() > 0.9


def test_swapper_module_checkpoint_rebuilds_it(run: Path) -> None:
    module = load_module(run / "checkpoints/last.ckpt")
    assert isinstance(module, SwapperModule)
    assert not module.training
    assert module.provenance["identity"] == "carphone"
    target = torch.rand(1, 3, 128, 128) * 2 - 1
    again = load_module(run / "checkpoints/last.ckpt")
    assert torch.equal(module.generator(target).face, again.generator(target).face)
    record = read_checkpoint(run / "checkpoints/last.ckpt")
    averaged = record["state_dict"]["generator.relight.stem.0.weight"]
    assert torch.equal(module.generator.state_dict()["relight.stem.0.weight"], averaged)
    assert not torch.equal(averaged, record["current_model_state"]["generator.relight.stem.0.weight"])


def test_swapper_module_export_names_identity_and_consent(run: Path) -> None:
    spec = load_module(run / "checkpoints/last.ckpt").export_spec()
    assert spec.metadata["identity"] == "carphone"
    assert spec.metadata["consent"] == "licensed"
    assert list(spec.inputs) == ["target"]
    shown, mask = spec.module(spec.inputs["target"])
    assert shown.shape == (1, 3, 128, 128)
    assert mask.shape == (1, 1, 128, 128)


def test_load_module_bad_file_is_one_line_error(tmp_path: Path, run: Path) -> None:
    text = tmp_path / "text.ckpt"
    text.write_text("hello")
    whole = (run / "checkpoints/last.ckpt").read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    other = tmp_path / "other.ckpt"
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    checkpoint["facesmith"]["settings"]["_target_"] = "facesmith.methods.swapper.module.SwaperModule"
    torch.save(checkpoint, other)
    for path in (text, cut, foreign, other, tmp_path / "none.ckpt"):
        with pytest.raises(UserError, match=f"^{path}: ") as caught:
            load_module(path)
        assert "\n" not in str(caught.value)


def test_swapper_module_init_from_loads_generator(run: Path, tiny: Settings, tmp_path: Path) -> None:
    from_run = f"model.init_from={run / 'checkpoints/last.ckpt'}"
    config = tiny(tmp_path, *SHORT, from_run)
    module, data = config.model.build(), config.data.build()
    trainer = Trainer(
        max_epochs=1, limit_train_batches=0, limit_val_batches=0, logger=False, enable_checkpointing=False,
        accelerator="cpu",
    )  # fmt: skip
    trainer.fit(module, data)
    wanted = load_module(run / "checkpoints/last.ckpt").generator.state_dict()
    assert torch.equal(module.generator.state_dict()["relight.stem.0.weight"], wanted["relight.stem.0.weight"])
    other = tiny(tmp_path, *SHORT, from_run, "model/generator=aad_fast").model.build()
    with pytest.raises(UserError, match=r"model\.init_from=.*another generator"):
        trainer.fit(other, data)


def test_swapper_module_schedule_counts_optimiser_steps(tiny: Settings, tmp_path: Path) -> None:
    config = tiny(tmp_path, "trainer.max_epochs=3", "trainer.accumulate_grad_batches=2", "model.optimizer.warmup=0.25")
    rates: list[float] = []
    module = config.model.build()
    trainer = Trainer(
        max_epochs=3, accumulate_grad_batches=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, limit_val_batches=0, accelerator="cpu",
    )  # fmt: skip
    module.on_before_zero_grad = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    trainer.fit(module, config.data.build())
    assert trainer.global_step == 12  # 7 batches are 4 steps
    assert module._steps == 12
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-5, rel=0.05)
    assert max(rates) == pytest.approx(1e-3)


@pytest.mark.slow
def test_swapper_module_untrained_exports_for_every_client(tiny: Settings, tmp_path: Path) -> None:
    train(tiny(tmp_path, "trainer.max_epochs=0", "callbacks.progress.refresh_rate=0"))
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    assert load_module(checkpoint).generator.pictures.any()
    session = onnxruntime.InferenceSession(tmp_path / "exports/carphone.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [3, 128, 128]
    for client in ("dfm", "hyperswap"):
        report = export(
            load_config("export", ExportConfig, [f"ckpt_path={checkpoint}", f"to={client}", f"output={tmp_path}"])
        )
        assert report is not None
        assert report.covered > 0.05  # of four pictures one shows a face


def test_swapper_module_untrained_is_good_and_trains_on_like_a_run_that_never_stopped(
    run: Path, tiny: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["callbacks.progress.refresh_rate=0", "callbacks.export=null"]
    objective = train(tiny(tmp_path, *short, "trainer.max_epochs=0"))
    told = next_paths(capsys.readouterr().out)
    assert len(told) == 3
    assert all(Path(path).exists() for path in told)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["trained"], record["steps"], record["status"]) == (False, 0, "completed")
    assert record["metrics"]["best"]["val/judge_distance"] == {"value": objective, "epoch": -1}
    assert objective < 0.6
    assert record["metrics"]["last"]["val/nme"] < 0.03
    assert record["metrics"]["last"]["before/judge_distance"] > objective
    assert [path.name for path in (tmp_path / "renders").iterdir()] == ["epoch_0000.png"]
    gate = json.loads((tmp_path / "profiles/carphone.json").read_text())["gate"]
    assert gate["val/judge_distance"] == pytest.approx(objective)
    train(tiny(tmp_path, *short, "trainer.max_epochs=2", f"resume={tmp_path}"))
    whole, later = (torch.load(each / "checkpoints/last.ckpt", weights_only=True) for each in (run, tmp_path))
    assert later["global_step"] == whole["global_step"] == 14
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, later["state_dict"][name]), name


@pytest.mark.slow
def test_swapper_module_aad_learns_likeness(tiny: Settings, tmp_path: Path) -> None:
    config = tiny(
        tmp_path,
        *SHORT,
        "model/generator=aad_fast",
        "model.loss.identity_from=0.5",
        "model.loss.adversarial=0.05",
        "model.loss.adversarial_from=0.5",
    )
    trainer = fit(config, tmp_path)
    assert np.isfinite(float(trainer.callback_metrics["train/loss_identity"]))
    assert np.isfinite(float(trainer.callback_metrics["train/loss_adversarial"]))
    assert (tmp_path / "exports/carphone.onnx").exists()
