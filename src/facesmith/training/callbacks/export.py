"""The model as others use it."""

import logging
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from facesmith.models.onnx.export import export
from facesmith.training.callbacks.protocols import Exports, WritesOnnx

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
