"""The last lines of a run speak of what it trained."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule
from rich.console import Console

from facesmith.training.callbacks.summary import PrintSummary


def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: dict[str, float], **person: Any) -> str:
    module = LightningModule()
    if person:
        module.provenance = person
    figures = {name: torch.tensor(value) for name, value in metrics.items()}
    trainer: Any = SimpleNamespace(is_global_zero=True, callback_metrics=figures, datamodule=None)
    PrintSummary(tmp_path).teardown(trainer, module, "fit")
    return capsys.readouterr().out


def test_summary_generated_videos_have_own_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = printed(
        tmp_path,
        capsys,
        {"val/likeness": 0.9, "val/flicker": 8.0, "val/loss": 0.1},
        before={"likeness": -0.25, "flicker": 9.0},
    )
    assert "generated faces: likeness" in summary
    assert "-0.250" in summary
    assert "0.900" in summary
    assert "mask" not in summary


def test_summary_masks_have_own_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = printed(tmp_path, capsys, {"val/mask_iou": 0.9, "val/flicker": 0.01})
    assert "mask flicker" in summary
    assert "likeness" not in summary


def test_summary_at_80_columns_keeps_the_names_of_figures_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesmith.training.callbacks.summary.get_console", lambda: Console(width=80))
    stages = ("before", "base", "val", "base_holdout", "val_holdout")
    summary = printed(tmp_path, capsys, {f"{stage}/expression_error": 0.1 for stage in stages})
    assert summary.count("expression error, 52 shapes") == 2
    assert "How good it is, held out" in summary
    assert "held out, before" not in summary


def test_summary_ends_a_fit_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True)
    PrintSummary(tmp_path).teardown(trainer, LightningModule(), "validate")
    assert capsys.readouterr().out == ""
