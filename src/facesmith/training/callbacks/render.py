"""Images and videos of what a training sees and makes, written as files and uploaded when asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.video_writer import VideoWriter
from facesmith.training.callbacks.protocols import GeneratesVideos, HasProvenance, Previews, Renders, get_datamodule
from facesmith.training.run.wandb_logger import MediaLogger, find_wandb_logger


class RenderValidation(Callback):
    """Write the module's image of the first validation batch, every `every_n_epochs` epochs and after the last.

    The validation before training, where there is one, is `epoch_0000`.

    Renders are marked as synthetic. A logger whose `media` is true gets the marked file too; others never do: a face
    leaves this machine only when asked.

    Args:
        folder: Where the images go, as `epoch_<number>.png`.
        every_n_epochs: Epochs between two renders.
    """

    def __init__(self, folder: Path, every_n_epochs: int) -> None:
        self.folder, self.every_n_epochs = folder, every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Render while the weights that are validated are in place."""
        epoch = 0 if trainer.sanity_checking else trainer.current_epoch + 1
        due = epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs
        if batch_idx or dataloader_idx or not due or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Renders)
        path = self.folder / f"epoch_{epoch:04d}.png"
        write_image(path, pl_module.render(batch), mark=_make_mark(pl_module, f"training render, epoch {epoch}"))
        _upload(trainer, "renders/validation", path)


class PreviewData(Callback):
    """Write the data's preview when training starts; the image is marked as synthetic.

    Args:
        path: Of the image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the preview."""
        data = get_datamodule(trainer)
        assert isinstance(data, Previews)
        if trainer.is_global_zero:
            write_image(self.path, data.preview(), mark=_make_mark(data, "training data"))


class RenderTimelapse(Callback):
    """Make a video of the validation renders when training ends, one frame per render: `film.mp4`.

    It is marked as synthetic, and uploaded to W&B where `media` is true. Fewer than two renders make none.

    Args:
        folder: Of the renders, where the video goes too.
        fps: Renders per second.
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
        mark = _make_mark(pl_module, "training renders, epoch by epoch")
        with VideoWriter(path, mark=mark, fps=self.fps) as writer:
            for frame in frames:
                writer.write(frame)
        logger = find_wandb_logger(trainer)
        if logger is not None and logger.media:
            logger.log_media("renders/film", path, trainer.global_step)


class SaveVideos(Callback):
    """Write what a module generated at each validation: a video per clip, and one still image of all.

    The validation before training is `epoch_0000`. Files are marked as synthetic. A logger whose `media` is true gets
    them too; others never do: a face leaves this machine only when asked.

    Args:
        folder: Where the files go.
        fps: Frames per second.
        kind: Digital source type of the mark, see `Mark`.
    """

    def __init__(self, folder: Path, fps: float, kind: Literal["composite", "generated"]) -> None:
        self.folder, self.fps, self.kind = folder, fps, kind

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what this validation generated."""
        assert isinstance(pl_module, GeneratesVideos)
        videos = pl_module.pop_videos()
        if not videos or not trainer.is_global_zero:
            return
        epoch = 0 if trainer.sanity_checking else trainer.current_epoch + 1
        mark = _make_mark(pl_module, f"validation video, epoch {epoch}", self.kind)
        written = []
        for name, frames in videos:
            path = self.folder / f"epoch_{epoch:04d}_{name}.mp4"
            with VideoWriter(path, mark=mark, fps=self.fps) as writer:
                for frame in frames:
                    writer.write(frame)
            written.append(path)
        still = self.folder / f"epoch_{epoch:04d}.png"
        write_image(still, pl_module.overview(), mark=mark)
        for path in (still, *written):
            _upload(trainer, f"renders/{path.stem[11:] or 'overview'}", path)


def _make_mark(owner: object, title: str, kind: Literal["composite", "generated"] = "composite") -> Mark:
    """Make the provenance mark of a file from what a module or data module knows of the person."""
    if isinstance(owner, Previews):
        person: Mapping[str, Any] = owner.provenance()
    else:
        person = owner.provenance if isinstance(owner, HasProvenance) else {}
    identity, consent = (str(person.get(key, "not stated")) for key in ("identity", "consent"))
    return Mark(identity=identity, consent=consent, model_hash=None, title=title, kind=kind)


def _upload(trainer: Trainer, key: str, path: Path) -> None:
    """Upload a file through every logger that may upload media."""
    for logger in trainer.loggers:
        if isinstance(logger, MediaLogger) and logger.media:
            logger.log_media(key, path, trainer.global_step)
