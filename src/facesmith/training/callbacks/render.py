"""Pictures to look at: numbers have passed where the eye did not."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.training.callbacks.protocols import KnowsPerson, Renders


class RenderValidation(Callback):
    """Write the module's picture of the first validation batch into `folder`, every `every_n_epochs` epochs.

    Renders are marked as synthetic. A logger whose `media` is true gets the marked file too; others never do: a face
    leaves this machine only when asked.
    """

    def __init__(self, folder: Path, every_n_epochs: int) -> None:
        self.folder, self.every_n_epochs = folder, every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Render while the weights that are validated are in place."""
        epoch = trainer.current_epoch + 1
        due = epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs
        if batch_idx or dataloader_idx or not due or trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Renders)
        picture = pl_module.render(batch)
        person = pl_module.provenance if isinstance(pl_module, KnowsPerson) else {}
        mark = Mark(
            identity=str(person.get("identity", "not stated")),
            consent=str(person.get("consent", "not stated")),
            model_hash=None,
            title=f"training render, epoch {epoch}",
        )
        path = self.folder / f"epoch_{epoch:04d}.png"
        write_image(path, picture, mark=mark)
        for logger in trainer.loggers:
            if getattr(logger, "media", False):
                logger.log_media("renders/validation", path, trainer.global_step)  # type: ignore[attr-defined]
