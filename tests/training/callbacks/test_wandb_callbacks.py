"""What W&B receives beyond metrics, read back from an offline run of a real, small fit."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from facesmith.media.video import open_video
from facesmith.metrics.swap_metrics import PictureMetrics, SwapMetrics
from facesmith.training.callbacks.render import RenderTimelapse, RenderValidation
from facesmith.training.callbacks.wandb import LogArtifacts, LogGateTable

from ...offline_wandb import logger, record, summaries

pytestmark = pytest.mark.usefixtures("keyless")
RUN = "identity/ada/2026-11-22_05-01-04"


def verdict(name: str, distance: float) -> PictureMetrics:
    figures: dict[str, Any] = {field.name: 0.5 for field in fields(PictureMetrics)}
    return PictureMetrics(
        **{**figures, "name": name, "distance": distance, "reason": "" if distance < 0.6 else "not it"}
    )


class Data(LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.quality = {
            "before": SwapMetrics([verdict("scene", 0.9)]),
            "val": SwapMetrics([verdict("scene", 0.4)]),
            "val_holdout": SwapMetrics([verdict("beach", 0.7)]),
        }

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.randn(4, 3), batch_size=2)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.randn(2, 3), batch_size=2)


class Swapper(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.provenance = {"identity": "ada", "consent": "synthetic", "face_set": "0123abcd", "faces": 24}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def render(self, batch: Tensor) -> np.ndarray:
        return np.full((64, 96, 3), 40 * (self.current_epoch + 1), np.uint8)


def fit(runs: Path, **settings: Any) -> tuple[dict[str, Any], Path]:
    import wandb

    folder = runs / RUN
    callbacks = [
        RenderValidation(folder / "renders", every_n_epochs=1),
        LogGateTable(),
        RenderTimelapse(folder / "renders", fps=2.0),
        LogArtifacts(folder),
        ModelCheckpoint(folder / "checkpoints", filename="last", enable_version_counter=False),
    ]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=logger(runs, RUN, **settings),
        callbacks=callbacks,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Swapper(), Data())
    wandb.finish()
    (summary,) = summaries(runs)
    return summary, Path(summary["file"])


def test_wandb_callbacks_default_uploads_no_pictures(tmp_path: Path) -> None:
    summary, path = fit(tmp_path)
    (table,) = (path.parent / "files/media/table").rglob("*.json")
    rows = json.loads(table.read_text())
    assert [row[:2] for row in rows["data"]] == [["scene", "before"], ["scene", "after"], ["beach", "held out, after"]]
    assert [row[rows["columns"].index("accepted")] for row in rows["data"]] == [False, True, False]
    assert not (path.parent / "files/media/images").exists()
    assert "renders/validation" not in summary["summary"]
    (checkpoint,) = [one for one in record(path, "artifact") if one["type"] == "checkpoint"]
    (entry,) = checkpoint["manifest"]["contents"]
    assert entry["ref"] == (tmp_path / RUN / "checkpoints/last.ckpt").as_uri()
    assert "local_path" not in entry
    saved = json.loads(checkpoint["metadata"])
    assert (saved["identity"], saved["face_set"], saved["consent"]) == ("ada", "0123abcd", "synthetic")
    with open_video(tmp_path / RUN / "renders/film.mp4") as film:
        assert len(film) == 3


def test_wandb_callbacks_media_uploads_renders_and_timelapse(tmp_path: Path) -> None:
    summary, path = fit(tmp_path, media=True, artifacts="files")
    assert summary["summary"]["renders/validation"]["_type"] == "image-file"
    assert summary["summary"]["renders/film"]["_type"] == "video-file"
    assert len(list((path.parent / "files/media/images").rglob("*.png"))) == 3
    (checkpoint,) = [one for one in record(path, "artifact") if one["type"] == "checkpoint"]
    assert Path(checkpoint["manifest"]["contents"][0]["local_path"]).is_relative_to(tmp_path / "wandb")
