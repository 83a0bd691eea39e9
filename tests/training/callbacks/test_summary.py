"""The last lines of a run speak of what it trained."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule

from facesmith.training.callbacks.summary import PrintSummary


def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: dict[str, float], **person: Any) -> str:
    module = LightningModule()
    if person:
        module.provenance = person
    figures = {name: torch.tensor(value) for name, value in metrics.items()}
    trainer: Any = SimpleNamespace(is_global_zero=True, callback_metrics=figures, datamodule=None)
    PrintSummary(tmp_path).on_fit_end(trainer, module)
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
