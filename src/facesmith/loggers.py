"""The Weights & Biases logger as facesmith uses it."""

import os
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger


class WandbRunLogger(WandbLogger):
    """Log to W&B: online when a key is set, offline otherwise; pictures leave this machine only when asked.

    Args:
        offline: null chooses by the key; true and false insist.
        media: whether renders of the person may be uploaded.
        save_dir: folder shared by all runs, so that they can be overlaid; `wandb/` is made inside it.
    """

    def __init__(self, *, save_dir: Path, offline: bool | None, media: bool, **arguments: Any) -> None:
        save_dir.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str((save_dir / "wandb").resolve()))
        os.environ.setdefault("WANDB_SILENT", "true")
        if offline is None:
            offline = not wandb.login(prompt=False)
        self.media = media
        mode = "offline" if offline else "online"
        super().__init__(save_dir=save_dir, offline=offline, log_model=False, mode=mode, **arguments)
