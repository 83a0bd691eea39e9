"""The Weights & Biases logger: what a run is called there, and what may be uploaded."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import wandb
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from facesmith.errors import UserError
from facesmith.training.run.naming import find_sweep_folder, run_group, run_id, run_name
from facesmith.training.run.record import Recorder, RunRecord


class WandbRunLogger(WandbLogger):
    """Log to W&B: online when a key is set, offline otherwise; pictures leave this machine only when asked.

    A run keeps its id when it is resumed or retried: online it continues, offline another folder with the same id
    is made, which `wandb sync` appends to the first.

    Args:
        run: The run's folder.
        overrides: Of the command line, for the run's name.
        id: None: `naming.run_id`.
        name: None: `naming.run_name`.
        group: None: `naming.run_group`.
        job_type: None: `sweep` or `train`.
        save_dir: Folder shared by all runs, so that they can be overlaid; `wandb/` is made inside it.
        offline: None: offline where no key is set.
        media: Whether renders of the person may be uploaded.
        artifacts: Whether checkpoints and exports become artifacts: `none`, `references` (path, size and hash; the
            file stays here) or `files`.
        arguments: Further arguments of Lightning's `WandbLogger`.
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
            job_type=job_type or ("sweep" if find_sweep_folder(run) else "train"),
            **arguments,
        )

    @rank_zero_only
    def log_best(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Log the best epoch's validation into the summary, as `best/val/...` and `best/epoch`.

        Args:
            metrics: The best epoch's metrics by name.
            epoch: From 0.
        """
        best = {f"best/{name}": value for name, value in metrics.items() if name.startswith("val")}
        self.experiment.summary.update(best)
        self.experiment.summary["best/epoch"] = epoch

    @rank_zero_only
    def log_media(self, key: str, path: Path, step: int) -> None:
        """Upload an image or an mp4 as it is.

        Args:
            key: Name in W&B.
            path: Of the file.
            step: Optimiser step.

        Raises:
            UserError: Media may not leave this machine.
        """
        if not self.media:
            raise UserError(f"{path}: logger.wandb.media=false keeps pictures on this machine")
        media = wandb.Video(str(path), format="mp4") if path.suffix == ".mp4" else wandb.Image(str(path))
        self.experiment.log({key: media, "trainer/global_step": step})


@runtime_checkable
class MediaLogger(Protocol):
    """A logger that can upload media."""

    media: bool
    """Whether it may."""

    def log_media(self, key: str, path: Path, step: int) -> None:
        """Upload an image or an mp4.

        Args:
            key: Name of its panel.
            path: Of the file.
            step: Of the optimiser.
        """
        ...


def find_wandb_logger(trainer: Trainer) -> WandbRunLogger | None:
    """Return the trainer's W&B logger; None where it has none or another process logs."""
    found = (logger for logger in trainer.loggers if isinstance(logger, WandbRunLogger))
    return next(found, None) if trainer.is_global_zero else None


@contextmanager
def finish_wandb_run(recording: AbstractContextManager[Recorder]) -> Iterator[Recorder]:
    """Record a run, and finish its W&B run, if there is one, with the status that the record has.

    Without it the jobs of one sweep, which share a process, would merge into one W&B run.

    Args:
        recording: From `record_run`.
    """
    recorder: Recorder | None = None
    try:
        with recording as recorder:
            yield recorder
    finally:
        if recorder is not None:
            _finish(recorder.record)


def _finish(record: RunRecord) -> None:
    run = sys.modules["wandb"].run if "wandb" in sys.modules else None
    if run is None:
        return
    summary: dict[str, Any] = {
        "status": record.status,
        "seconds": record.seconds,
        "peak_memory_mb": record.peak_memory_mb,
    }
    summary |= {"error": f"{record.error.kind}: {record.error.message}"} if record.error else {}
    run.summary.update(summary)
    run.finish(exit_code=0 if record.status in ("completed", "pruned") else 1)
