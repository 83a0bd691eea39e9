"""Drawn videos to look at: numbers have passed where the eye did not."""

from pathlib import Path
from typing import Literal

from lightning import Callback, LightningModule, Trainer

from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.media.video_writer import VideoWriter
from facesmith.training.callbacks.protocols import DrawsVideos


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
