"""What was learnt, as others load it."""

import logging
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from facesmith.callbacks.protocols import SavesAdapter

log = logging.getLogger(__name__)


class SaveAdapter(Callback):
    """Write the module's adapter files into `folder` when training ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what training ended with."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, SavesAdapter)
        for path in pl_module.save_adapter(self.folder):
            log.info("%s: %.1f MB", path, path.stat().st_size / 1e6)
