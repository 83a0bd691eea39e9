"""What the quality gate says of each target, as a table in W&B."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer

from facesmith.metrics.quality import Quality, Verdict
from facesmith.training.callbacks.protocols import Judges
from facesmith.training.run.loggers import wandb_of

TABLE = "gate/targets"
_WHEN = {"before": "before", "val": "after", "before_holdout": "held out, before", "val_holdout": "held out, after"}


class LogGateTable(Callback):
    """Give W&B a table of the last gate's figures, a row a target, as `gate/targets`. It holds numbers and names."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        logger = wandb_of(trainer)
        if logger is not None and isinstance(data, Judges) and data.quality:
            table = wandb.Table(columns=[*_columns(), "accepted"], data=_rows(data.quality))
            logger.experiment.log({TABLE: table, "trainer/global_step": trainer.global_step})


def _columns() -> list[str]:
    return ["target", "when", *(field.name for field in dataclasses.fields(Verdict) if field.name != "name")]


def _rows(quality: Mapping[str, Quality]) -> list[list[Any]]:
    rows = []
    for prefix, title in _WHEN.items():
        for verdict in quality[prefix].verdicts if prefix in quality else ():
            name, *figures = dataclasses.astuple(verdict)
            rows.append([name, title, *figures, verdict.accepted])
    return rows
