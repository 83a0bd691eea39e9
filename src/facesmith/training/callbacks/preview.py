"""What is trained on, to look at before hours go into it."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.training.callbacks.protocols import Previews


class PreviewData(Callback):
    """Write the data's preview to `path` when training starts; the picture is marked as synthetic."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and write."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, Previews)
        if not trainer.is_global_zero:
            return
        person = data.provenance()
        mark = Mark(
            identity=str(person["identity"]), consent=str(person["consent"]), model_hash=None, title="training data"
        )
        write_image(self.path, data.preview(), mark=mark)
