"""What was made of what, as artifacts in W&B."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from facesmith.training.callbacks.protocols import KnowsPerson
from facesmith.training.run.loggers import wandb_of
from facesmith.training.run.wandb_artifacts import faces_artifact, files_artifact, onnx_artifact


class LogArtifacts(Callback):
    """Give W&B the run's artifacts when training ends: what faces it saw, its checkpoint and its exports.

    Of the faces only key, count and consent are told, never pictures or embeddings. Checkpoint and exports are
    references (path, size, hash) or files, as the logger's `artifacts` says. Online the faces are the run's input;
    W&B takes no inputs offline, so there they are told in the outputs' metadata alone.

    Args:
        folder: of the run; files below `checkpoints/` and `exports/` are told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the artifacts."""
        logger = wandb_of(trainer)
        if logger is None or logger.artifacts == "none":
            return
        run = logger.experiment
        person = dict(pl_module.provenance) if isinstance(pl_module, KnowsPerson) else {}
        told = {key: value for key, value in person.items() if isinstance(value, str | int | float)}
        if told.get("face_set") and not run.offline:
            run.use_artifact(faces_artifact(told))
        upload = logger.artifacts == "files"
        told["run"] = run.id
        checkpoints = sorted(path for path in self.folder.glob("checkpoints/*.ckpt") if path.stem in ("best", "last"))
        if checkpoints:
            run.log_artifact(files_artifact(f"{run.id}-checkpoint", "checkpoint", checkpoints, told, upload=upload))
        exports = onnx_artifact(self.folder / "exports", run.id, told, upload=upload)
        if exports is not None:
            run.log_artifact(exports)
