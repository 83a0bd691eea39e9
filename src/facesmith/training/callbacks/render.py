"""Pictures to look at: numbers have passed where the eye did not."""

from pathlib import Path
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer

from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.video_writer import VideoWriter
from facesmith.training.callbacks.protocols import DrawsVideos, KnowsPerson, Previews, Renders
from facesmith.training.run.loggers import wandb_of


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


class FilmRenders(Callback):
    """Make a video of the validation renders, one an epoch rendered, when training ends: `film.mp4` in `folder`.

    It is marked as synthetic, and goes to W&B where `media` is true. Fewer than two renders make none. `fps` are
    renders a second.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        self.folder, self.fps = folder, fps

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the video."""
        if not trainer.is_global_zero:
            return
        frames = [read_image(path) for path in sorted(self.folder.glob("epoch_*.png"))]
        frames = [frame for frame in frames if frame.shape == frames[-1].shape]  # a resumed run may show more faces
        if len(frames) < 2:
            return
        path = self.folder / "film.mp4"
        person = pl_module.provenance if isinstance(pl_module, KnowsPerson) else {}
        mark = Mark(
            identity=str(person.get("identity", "not stated")),
            consent=str(person.get("consent", "not stated")),
            model_hash=None,
            title="training renders, epoch by epoch",
        )
        with VideoWriter(path, mark=mark, fps=self.fps) as writer:
            for frame in frames:
                writer.write(frame)
        logger = wandb_of(trainer)
        if logger is not None and logger.media:
            logger.log_media("renders/film", path, trainer.global_step)


class SaveVideos(Callback):
    """Write what a module drew at each validation into `folder`: a video a clip, and one still picture of all.

    The validation before training is `epoch_0000`. Files are marked as synthetic. A logger whose `media` is true gets
    them too; others never do: a face leaves this machine only when asked. fps: of the videos. kind: see
    `Mark`.
    """

    def __init__(self, folder: Path, fps: float, kind: Literal["composite", "generated"]) -> None:
        self.folder, self.fps, self.kind = folder, fps, kind

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write while the drawings are fresh."""
        assert isinstance(pl_module, DrawsVideos)
        videos = pl_module.drawn()
        if not videos or not trainer.is_global_zero:
            return
        epoch = 0 if trainer.sanity_checking else trainer.current_epoch + 1
        person = pl_module.provenance
        mark = Mark(
            identity=str(person["identity"]),
            consent=str(person["consent"]),
            model_hash=None,
            title=f"validation video, epoch {epoch}",
            kind=self.kind,
        )
        written = []
        for name, frames in videos:
            path = self.folder / f"epoch_{epoch:04d}_{name}.mp4"
            with VideoWriter(path, mark=mark, fps=self.fps) as writer:
                for frame in frames:
                    writer.write(frame)
            written.append(path)
        still = self.folder / f"epoch_{epoch:04d}.png"
        write_image(still, pl_module.overview(), mark=mark)
        for logger in trainer.loggers:
            if getattr(logger, "media", False):
                for path in (still, *written):
                    logger.log_media(f"renders/{path.stem[11:] or 'overview'}", path, trainer.global_step)  # type: ignore[attr-defined]
