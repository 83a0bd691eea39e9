"""What it takes to run the same again."""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

import facesmith
from facesmith.atomic import write_text

_PACKAGES = ("torch", "lightning", "numpy", "mediapipe", "onnx", "onnxruntime", "opencv-python", "av", "pydantic")


class RecordRun(Callback):
    """Give the settings to every logger, and write `run.json`: command, settings, versions, git commit.

    Nothing is written before the data are found good. `settings` are the validated ones, as plain values.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        self.settings, self.folder = dict(settings), folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record, once the data are prepared."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_hyperparams(self.settings)
        record = {
            "command": sys.argv,
            "facesmith": facesmith.__version__,
            "python": sys.version.split()[0],
            "packages": {name: version(name) for name in _PACKAGES},
            "git_commit": _git_commit(),
            "settings": self.settings,
        }
        write_text(self.folder / "run.json", json.dumps(record, indent=2))


def _git_commit() -> str | None:
    """Give the commit of the project's checkout, `+` marking uncommitted changes; None outside of one."""
    here = Path(facesmith.__file__).parent
    describe = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
