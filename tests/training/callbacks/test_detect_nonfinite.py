"""A loss or gradient that is no number: the step is not taken, nothing poisoned is saved."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from facesmith.training.callbacks.average import AverageWeights
from facesmith.training.callbacks.detect_nonfinite import DetectNonFinite, DivergedError


class Net(LightningModule):
    """A line with batch statistics; `spoil` says what breaks at which batch."""

    loss_parts: Mapping[str, Tensor]

    def __init__(self, spoil: dict[int, str]) -> None:
        super().__init__()
        self.norm, self.line, self.spoil = nn.BatchNorm1d(4), nn.Linear(4, 1), spoil
        self.loss_parts = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        kind = self.spoil.get(batch_idx)
        value = batch["target"]
        if kind == "batch":
            value.fill_(float("nan"))
        out = self.line(self.norm(value))
        fit, size = (out - 1).square().mean(), out.abs().mean()
        if kind == "loss":
            size = size / 0
        if kind == "gradient":
            out.register_hook(lambda gradient: gradient * float("inf"))
        self.loss_parts = {"train/loss_fit": fit.detach(), "train/loss_size": size.detach()}
        return fit + size

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 0.01)


class Scaled(MixedPrecision):
    """The float16 plugin, computing in float32: its scaling is what matters here."""

    def autocast_context_manager(self) -> Any:
        return torch.autocast("cpu", enabled=False)


def fit(
    folder: Path, spoil: dict[int, str], mode: Any = "stop", limit: int = 3, scaled: bool = False, **trainer: Any
) -> tuple[Net, Trainer, DetectNonFinite]:
    torch.manual_seed(0)
    net, guard = Net(spoil), DetectNonFinite(mode, limit, folder)
    batches = [{"target": torch.randn(8, 4)} for _ in range(8)]
    last = ModelCheckpoint(
        folder,
        "last",
        every_n_train_steps=1,
        save_top_k=1,
        mode="max",
        save_on_exception=True,
        enable_version_counter=False,
    )
    plugins = [Scaled("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0))] if scaled else None
    runner = Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=[guard, AverageWeights(0.9), last],
        plugins=plugins,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, "gradient_clip_val": 5.0, **trainer},
    )
    try:
        runner.fit(net, DataLoader(batches, batch_size=None))
    except DivergedError as error:
        raise error.with_traceback(None) from None
    return net, runner, guard


def finite(values: Any) -> bool:
    return all(torch.isfinite(value).all() for value in values if value.is_floating_point())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("loss", "train/loss_size is inf, at learning rate"),
        ("batch", "train/loss_fit is nan, train/loss_size is nan (the batch's target too)"),
        ("gradient", "the loss is finite, the gradient of norm.weight, norm.bias, line.weight, line.bias is not"),
    ],
)
def test_detect_nonfinite_stop_names_culprit(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(DivergedError) as caught:
        fit(tmp_path, {4: kind})
    message = str(caught.value)
    assert message.startswith("step 4 (epoch 0): ")
    assert words in message
    assert f"last good checkpoint: {tmp_path / 'last.ckpt'}" in message
    assert "model.optimizer.lr=0.005 (now 0.01)" in message
    assert "callbacks.guard.on_nonfinite=skip" in message
    assert "\n" not in message
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert finite(saved["state_dict"].values())
    assert finite(saved["current_model_state"].values())


def test_detect_nonfinite_skip_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        net, runner, guard = fit(tmp_path, {2: "batch", 5: "gradient"}, "skip")
    assert runner.global_step == 8
    assert guard.skipped == 2
    assert finite(net.state_dict().values())
    assert "step 2: train/loss_fit is nan" in caplog.text
    assert "(2 of callbacks.guard.max_skipped=3)" in caplog.text
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["GuardTraining"] == {"skipped": 2}


def test_detect_nonfinite_skipped_step_changes_nothing(tmp_path: Path) -> None:
    """The last batch's skipped step leaves weights and statistics as the step before did."""
    fit(tmp_path / "a", {7: "loss"}, "skip")
    fit(tmp_path / "b", {}, limit_train_batches=7)
    skipped, shorter = (
        torch.load(tmp_path / run / "last.ckpt", weights_only=True)["current_model_state"] for run in "ab"
    )
    names = [name for name in shorter if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(skipped[name], shorter[name]) for name in names)


def test_detect_nonfinite_max_skipped_stops(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="2 steps were skipped before") as caught:
        fit(tmp_path, dict.fromkeys((1, 3, 4, 6), "loss"), "skip", limit=2)
    assert str(caught.value).startswith("step 4 ")
    assert "a higher callbacks.guard.max_skipped (now 2)" in str(caught.value)


def test_detect_nonfinite_accumulated_checks_every_batch(tmp_path: Path) -> None:
    """The first of two is bad, the second is not: the step they share is skipped."""
    net, runner, guard = fit(tmp_path, {2: "batch"}, "skip", accumulate_grad_batches=2)
    assert (runner.global_step, guard.skipped) == (4, 1)
    assert finite(net.state_dict().values())
    with pytest.raises(DivergedError, match=r"step 1 .*train/loss_fit is nan"):
        fit(tmp_path, {2: "batch"}, accumulate_grad_batches=2)


def test_detect_nonfinite_fp16_leaves_overflow_to_scaler(tmp_path: Path) -> None:
    net, runner, guard = fit(tmp_path, {2: "gradient", 4: "batch"}, scaled=True)
    assert runner.global_step == 8
    assert guard.skipped == 0
    assert finite(net.state_dict().values())
    assert runner.precision_plugin.scaler.get_scale() == 64.0


def test_detect_nonfinite_fp16_falling_scale_stops(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"however small float16's loss scale.*trainer.precision=bf16-mixed"):
        fit(tmp_path, dict.fromkeys(range(8), "gradient"), scaled=True, max_epochs=9)


def test_detect_nonfinite_bad_weights_are_never_saved(tmp_path: Path) -> None:

    torch.manual_seed(0)
    guard = DetectNonFinite("stop", 0, tmp_path)
    runner = Trainer(accelerator="cpu", logger=False, max_epochs=1, enable_progress_bar=False, callbacks=[guard])
    net = Net({})
    net.line.weight.data.fill_(float("inf"))
    with pytest.raises(DivergedError, match=r"the weights line\.weight were not finite before the step"):
        runner.fit(net, DataLoader([{"target": torch.randn(8, 4)}], batch_size=None))
    with pytest.raises(DivergedError, match="no checkpoint is written"):
        runner.save_checkpoint(tmp_path / "x.ckpt")
    assert not list(tmp_path.glob("*.ckpt"))
