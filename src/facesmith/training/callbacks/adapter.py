"""What was learnt, as others load it."""

import logging
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from rich.filesize import decimal

from facesmith.models.adapters.listing import enter
from facesmith.training.callbacks.protocols import SavesAdapter

log = logging.getLogger(__name__)


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
            path = enter(self.profiles, self.folder)
            log.info("%s: %s", path, "lists the adapter" if path.exists() else "is not there to list the adapter")
