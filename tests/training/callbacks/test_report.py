"""The page of a run is one whole file at any time, and shows text as text."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule

from facesmith.media.images import write_image
from facesmith.training.callbacks.report import WriteReport, draw_curve


@pytest.fixture
def trainer() -> Any:
    figures = {"val/mask_iou": torch.tensor(0.9), "train/loss": torch.tensor(0.25)}
    return SimpleNamespace(
        is_global_zero=True,
        fast_dev_run=False,
        callback_metrics=figures,
        datamodule=None,
        ckpt_path=None,
        max_epochs=3,
        current_epoch=1,
        num_training_batches=10,
        global_step=14,
        fit_loop=SimpleNamespace(total_batch_idx=13),
    )


def test_report_refreshes_itself_until_the_training_ends(tmp_path: Path, trainer: Any) -> None:
    run = tmp_path / "<ada>" / "now"
    (run / "renders").mkdir(parents=True)
    write_image(run / "renders" / "epoch_0002.png", np.full((40, 60, 3), 99, np.uint8), mark=None)
    report, module = WriteReport(run, 15.0), LightningModule()
    report.on_train_start(trainer, module)
    page = report.path.read_text()
    assert 'http-equiv="refresh"' in page
    assert "epoch 2 of 3, step 14 of 30" in page
    assert "&lt;ada&gt;" in page
    assert "<ada>" not in page
    assert "data:image/jpeg;base64," in page
    trainer.global_step = 15
    report.on_validation_end(trainer, module)
    report.teardown(trainer, module, "fit")
    page = report.path.read_text()
    assert "http-equiv" not in page
    assert "<polyline" in page
    assert "mask IoU" in page
    assert 'src="http' not in page


def test_report_says_how_a_training_broke_off(tmp_path: Path, trainer: Any) -> None:
    report = WriteReport(tmp_path, 15.0)
    report.on_exception(trainer, LightningModule(), ValueError("before the first step"))
    assert not report.path.exists()
    report.on_train_start(trainer, LightningModule())
    report.on_exception(trainer, LightningModule(), ValueError("<script>no</script>"))
    page = report.path.read_text()
    assert "ended by ValueError: &lt;script&gt;" in page
    assert "<script" not in page


def test_curve_keeps_within_its_frame() -> None:
    drawn = draw_curve([(step, 1 / (step + 1)) for step in range(2000)])
    points = drawn.partition('points="')[2].partition('"')[0].split()
    places = np.array([[float(one) for one in point.split(",")] for point in points])
    assert len(places) <= 400
    assert (places >= 0).all()
    assert (places <= [720, 180]).all()
