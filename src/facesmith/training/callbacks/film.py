"""The renders of a training, one after the other."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.video_writer import VideoWriter
from facesmith.training.callbacks.protocols import KnowsPerson
from facesmith.training.run.loggers import wandb_of


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
