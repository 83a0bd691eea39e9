"""Log a table of the quality gate and artifacts to Weights & Biases when training ends."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer

from facesmith.metrics.swap_metrics import PictureMetrics, SwapMetrics
from facesmith.training.callbacks.protocols import HasGateResults, HasProvenance, get_datamodule
from facesmith.training.run.wandb_artifacts import make_face_set_artifact, make_files_artifact, make_onnx_artifact
from facesmith.training.run.wandb_logger import find_wandb_logger

TABLE = "gate/targets"
_STAGES = {"before": "before", "val": "after", "before_holdout": "held out, before", "val_holdout": "held out, after"}


class LogGateTable(Callback):
    """Log the last quality gate to W&B as the table `gate/targets`, a row per target; it holds numbers and names."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table."""
        data = get_datamodule(trainer)
        logger = find_wandb_logger(trainer)
        if logger is not None and isinstance(data, HasGateResults) and data.quality:
            table = wandb.Table(columns=[*_columns(), "accepted"], data=_rows(data.quality))
            logger.experiment.log({TABLE: table, "trainer/global_step": trainer.global_step})


def _columns() -> list[str]:
    return ["target", "when", *(field.name for field in dataclasses.fields(PictureMetrics) if field.name != "name")]


def _rows(quality: Mapping[str, SwapMetrics]) -> list[list[Any]]:
    rows = []
    for prefix, title in _STAGES.items():
        for verdict in quality[prefix].pictures if prefix in quality else ():
            figures = dataclasses.asdict(verdict)
            rows.append([figures.pop("name"), title, *figures.values(), verdict.accepted])
    return rows


class LogArtifacts(Callback):
    """Log the run's artifacts to W&B when training ends: the face set, the checkpoint and the exports.

    Of the face set only key, count and consent are logged, never pictures or embeddings. Checkpoint and exports are
    references (path, size, hash) or files, depending on the logger's `artifacts`. Online the face set is an input of
    the run; W&B supports no inputs offline, so there it is in the outputs' metadata only.

    Args:
        folder: Of the run; files below `checkpoints/` and `exports/` are logged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the artifacts."""
        logger = find_wandb_logger(trainer)
        if logger is None or logger.artifacts == "none":
            return
        run = logger.experiment
        person = dict(pl_module.provenance) if isinstance(pl_module, HasProvenance) else {}
        metadata = {key: value for key, value in person.items() if isinstance(value, str | int | float)}
        if metadata.get("face_set") and not run.offline:
            run.use_artifact(make_face_set_artifact(metadata))
        upload = logger.artifacts == "files"
        metadata["run"] = run.id
        checkpoints = sorted(path for path in self.folder.glob("checkpoints/*.ckpt") if path.stem in ("best", "last"))
        if checkpoints:
            run.log_artifact(
                make_files_artifact(f"{run.id}-checkpoint", "checkpoint", checkpoints, metadata, upload=upload)
            )
        exports = make_onnx_artifact(self.folder / "exports", run.id, metadata, upload=upload)
        if exports is not None:
            run.log_artifact(exports)
