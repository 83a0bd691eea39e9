"""What W&B is sent of a training: figures, and videos only when asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facesmith.cli.train import train
from facesmith.config.schema import TrainConfig

from ...offline_wandb import summaries

Settings = Callable[..., TrainConfig]


@pytest.mark.slow
def test_wandb_receives_metrics_and_videos(demo: Settings, tmp_path: Path) -> None:
    given = [
        "logger=wandb",
        "logger.wandb.offline=true",
        "logger.wandb.media=true",
        f"paths.runs={tmp_path}",
        "trainer.max_epochs=1",
        "model.validation.face_scales=[0.0,1.0]",
    ]
    train(demo(tmp_path / "run", *given))
    (found,) = summaries(tmp_path)
    summary = found.get("summary", found)
    figures = {"loss", "loss_q0", "loss_q1", "likeness", "likeness_face_scale_0", "pose_agreement", "flicker"}
    for prefix in ("before", "val"):
        missing = {f"{prefix}/{name}" for name in figures} - set(summary)
        assert not missing, sorted(summary)
    for key, kind in (("renders/dance_004_00000", "video-file"), ("renders/overview", "image-file")):
        assert summary[key]["_type"] == kind, summary[key]
    media = {path.suffix for path in tmp_path.glob("wandb/offline-run-*/files/media/**/*") if path.is_file()}
    assert {".mp4", ".png"} <= media
