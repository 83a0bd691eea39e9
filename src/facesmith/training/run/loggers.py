"""The Weights & Biases logger as facesmith uses it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from facesmith.errors import UserError
from facesmith.training.run.naming import run_group, run_id, run_name, sweep_of


class WandbRunLogger(WandbLogger):
    """Log to W&B: online when a key is set, offline otherwise; pictures leave this machine only when asked.

    A run keeps its id when it is resumed or tried again: online it goes on, offline a further folder with the same id
    is made, which `wandb sync` puts behind the first.

    Args:
        run: the run's folder, which gives what the next five are null for.
        overrides: what the run was told, for its name.
        id, name, group, job_type: null: `facesmith.training.run.naming`'s; the job type is `sweep` or `train`.
        offline: null chooses by the key; true and false insist.
        media: whether renders of the person may be uploaded.
        artifacts: whether checkpoints and exports become artifacts: `none`, `references` (path, size and hash; the
            file stays here) or `files`.
        save_dir: folder shared by all runs, so that they can be overlaid; `wandb/` is made inside it.
    """

    def __init__(
        self,
        *,
        run: Path,
        overrides: Sequence[str],
        id: str | None,
        name: str | None,
        group: str | None,
        job_type: str | None,
        save_dir: Path,
        offline: bool | None,
        media: bool,
        artifacts: str,
        **arguments: Any,
    ) -> None:
        save_dir.mkdir(parents=True, exist_ok=True)
        os.environ["WANDB_DATA_DIR"] = str((save_dir / "wandb").resolve())  # artifacts are staged with the runs
        os.environ.setdefault("WANDB_SILENT", "true")
        if offline is None:
            offline = not wandb.login(prompt=False)
        self.media, self.artifacts = media, artifacts
        super().__init__(
            save_dir=save_dir,
            offline=offline,
            log_model=False,
            mode="offline" if offline else "online",
            id=id or run_id(run),
            name=name or run_name(run, overrides),
            group=group or run_group(run),
            job_type=job_type or ("sweep" if sweep_of(run) else "train"),
            **arguments,
        )

    @rank_zero_only
    def log_best(self, figures: Mapping[str, float], epoch: int) -> None:
        """Put the best epoch's validation beside the last one's: `best/val/...` and `best/epoch` of the summary."""
        best = {f"best/{name}": value for name, value in figures.items() if name.startswith("val")}
        self.experiment.summary.update(best)
        self.experiment.summary["best/epoch"] = epoch

    @rank_zero_only
    def log_media(self, key: str, path: Path, step: int) -> None:
        """Upload a picture or an mp4 as it is.

        Raises:
            UserError: media may not leave this machine.
        """
        if not self.media:
            raise UserError(f"{path}: logger.wandb.media=false keeps pictures on this machine")
        media = wandb.Video(str(path), format="mp4") if path.suffix == ".mp4" else wandb.Image(str(path))
        self.experiment.log({key: media, "trainer/global_step": step})


def wandb_of(trainer: Trainer) -> WandbRunLogger | None:
    """Return the trainer's W&B logger, if it has one and this process is the one that logs."""
    found = (logger for logger in trainer.loggers if isinstance(logger, WandbRunLogger))
    return next(found, None) if trainer.is_global_zero else None
