"""Exports of a training: the ONNX file, the identity profile, the adapter."""

import logging
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from rich.filesize import decimal

from facesmith.files import short_path
from facesmith.models.adapters.store import register_in_profile
from facesmith.models.onnx.export import export
from facesmith.models.onnx.export_spec import Exports
from facesmith.progress import waiting
from facesmith.training.callbacks.estimate import export_name
from facesmith.training.callbacks.protocols import HasProfile, SavesAdapter, WritesOnnx, get_datamodule
from facesmith.training.durations import recall_duration
from facesmith.training.sharding import unshard_saved

log = logging.getLogger(__name__)


class ExportOnnx(Callback):
    """Write the ONNX file when training ends, and every `every_n_epochs` epochs with the epoch in its name.

    The hooks raise `ExportError` when the graph computes something else than torch.

    Args:
        path: Of the final file.
        every_n_epochs: A cadence takes effect at the validations that fall on it; None exports at the end only.
        opset: Of the ONNX standard.
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
        took = recall_duration(export_name(pl_module))
        with waiting(f"writing {path.name} and comparing it with torch", expected=took):
            report = pl_module.write_onnx(path.parent) if isinstance(pl_module, WritesOnnx) else None
            if report is None:
                assert isinstance(pl_module, Exports)
                report = export(pl_module.export_spec(), path, opset=self.opset)
        shown = short_path(report.path)
        log.info("%s: %.1f MB, within %.0e of torch", shown, report.bytes / 1e6, report.parity)


class SaveProfile(Callback):
    """Write the identity profile as `<id>.json` when training ends, with the last metrics of the quality gate.

    Args:
        folder: Of the identity profiles.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the profile."""
        if not trainer.is_global_zero:
            return
        data = get_datamodule(trainer)
        assert isinstance(data, HasProfile)
        profile = data.profile()
        path = self.folder / f"{profile.id}.json"
        profile.save(path)
        log.info("%s: identity profile of %d frames", short_path(path), profile.num_frames)


class SaveAdapter(Callback):
    """Write the module's adapter files when training ends.

    Args:
        folder: Where they go.
        profiles: Folder of the identity profiles, where the person's profile gets to list the adapter; None: it
            does not.
    """

    def __init__(self, folder: Path, profiles: Path | None = None) -> None:
        self.folder, self.profiles = folder, profiles

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the adapter that training ended with."""
        unshard_saved(pl_module)
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, SavesAdapter)
        for path in pl_module.save_adapter(self.folder):
            log.info("%s: %s", short_path(path), decimal(path.stat().st_size))
        if self.profiles is not None:
            path = register_in_profile(self.profiles, self.folder)
            log.info(
                "%s: %s",
                short_path(path),
                "lists the adapter now" if path.exists() else "not found, so no profile lists the adapter",
            )
