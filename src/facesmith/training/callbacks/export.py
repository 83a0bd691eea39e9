"""The model as others use it."""

import logging
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.filesize import decimal

from facesmith.models.adapters.store import register_in_profile
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import Exports
from facesmith.training.callbacks.protocols import KnowsPerson, Profiles, SavesAdapter, WritesOnnx
from facesmith.training.run.loggers import wandb_of
from facesmith.training.run.wandb import faces_artifact, files_artifact, onnx_artifact

log = logging.getLogger(__name__)


class ExportOnnx(Callback):
    """Write the ONNX file when training ends, and every `every_n_epochs` epochs with the epoch in its name.

    `every_n_epochs` null exports at the end only; a cadence takes effect at the validations that fall on it. `path` is
    the final file's. Raises facesmith.models.onnx.export.ExportError when the graph computes something else than torch.
    """

    def __init__(self, path: Path, every_n_epochs: int | None, opset: int) -> None:
        self.path, self.every_n_epochs, self.opset = path, every_n_epochs, opset

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export at the cadence, while averaged weights are in place."""
        epoch = trainer.current_epoch + 1
        if self.every_n_epochs and epoch % self.every_n_epochs == 0 and not trainer.sanity_checking:
            self._export(trainer, pl_module, self.path.with_stem(f"{self.path.stem}_epoch_{epoch:04d}"))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export what training ended with."""
        self._export(trainer, pl_module, self.path)

    def _export(self, trainer: Trainer, pl_module: LightningModule, path: Path) -> None:
        if not trainer.is_global_zero:
            return
        report = pl_module.write_onnx(path.parent) if isinstance(pl_module, WritesOnnx) else None
        if report is None:
            assert isinstance(pl_module, Exports)
            report = export(pl_module.export_spec(), path, opset=self.opset)
        log.info("%s: %.1f MB, within %.0e of torch", report.path, report.bytes / 1e6, report.parity)


class SaveProfile(Callback):
    """Write `<id>.json` into `folder` when training ends: the identity profile with the last figures of the gate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the profile."""
        if not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, Profiles)
        profile = data.profile()
        path = self.folder / f"{profile.id}.json"
        profile.save(path)
        log.info("%s: identity profile of %d frames", path, profile.num_frames)


class SaveAdapter(Callback):
    """Write the module's adapter files into `folder` when training ends.

    profiles: folder of the identity profiles, the person's of which lists the adapter; null: none does.
    """

    def __init__(self, folder: Path, profiles: Path | None = None) -> None:
        self.folder, self.profiles = folder, profiles

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what training ended with."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, SavesAdapter)
        for path in pl_module.save_adapter(self.folder):
            log.info("%s: %s", path, decimal(path.stat().st_size))
        if self.profiles is not None:
            path = register_in_profile(self.profiles, self.folder)
            log.info("%s: %s", path, "lists the adapter" if path.exists() else "is not there to list the adapter")


class LogArtifacts(Callback):
    """Return W&B the run's artifacts when training ends: what faces it saw, its checkpoint and its exports.

    Of the faces only key, count and consent are told, never pictures or embeddings. Checkpoint and exports are
    references (path, size, hash) or files, as the logger's `artifacts` says. Online the faces are the run's input;
    W&B takes no inputs offline, so there they are told in the outputs' metadata alone.

    Args:
        folder: of the run; files below `checkpoints/` and `exports/` are told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the artifacts."""
        logger = wandb_of(trainer)
        if logger is None or logger.artifacts == "none":
            return
        run = logger.experiment
        person = dict(pl_module.provenance) if isinstance(pl_module, KnowsPerson) else {}
        told = {key: value for key, value in person.items() if isinstance(value, str | int | float)}
        if told.get("face_set") and not run.offline:
            run.use_artifact(faces_artifact(told))
        upload = logger.artifacts == "files"
        told["run"] = run.id
        checkpoints = sorted(path for path in self.folder.glob("checkpoints/*.ckpt") if path.stem in ("best", "last"))
        if checkpoints:
            run.log_artifact(files_artifact(f"{run.id}-checkpoint", "checkpoint", checkpoints, told, upload=upload))
        exports = onnx_artifact(self.folder / "exports", run.id, told, upload=upload)
        if exports is not None:
            run.log_artifact(exports)
