"""Who was trained, and how well."""

import logging
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from facesmith.training.callbacks.protocols import Profiles

log = logging.getLogger(__name__)


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
