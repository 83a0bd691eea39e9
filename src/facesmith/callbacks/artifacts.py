"""What was made of what, as artifacts in W&B."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer

from facesmith.callbacks.protocols import KnowsPerson
from facesmith.loggers import wandb_of


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
            run.use_artifact(_faces(told))
        upload = logger.artifacts == "files"
        told["run"] = run.id
        checkpoints = [
            path for name in ("best", "last") if (path := self.folder / f"checkpoints/{name}.ckpt").is_file()
        ]
        exports = sorted(path for path in (self.folder / "exports").glob("*") if path.is_file())
        for kind, files in (("checkpoint", checkpoints), ("onnx", exports)):
            if files:
                run.log_artifact(_artifact(f"{run.id}-{kind}", kind, files, told, upload))


def _faces(told: Mapping[str, Any]) -> wandb.Artifact:
    """Describe a face set: the same set gives the same artifact, whichever run sees it."""
    keys = ("identity", "face_set", "faces", "embedder", "consent", "consent_note")
    metadata = {key: told[key] for key in keys if key in told}
    artifact = wandb.Artifact(f"faces-{told['identity']}", type="face-set", metadata=metadata)
    with artifact.new_file("face_set.json") as file:
        json.dump(metadata, file, indent=2, sort_keys=True)
    return artifact


def _artifact(name: str, kind: str, files: list[Path], told: Mapping[str, Any], upload: bool) -> wandb.Artifact:
    artifact = wandb.Artifact(name, type=kind, metadata={**told, "bytes": sum(path.stat().st_size for path in files)})
    for path in files:
        if upload:
            artifact.add_file(str(path), name=path.name)
        else:
            artifact.add_reference(path.resolve().as_uri(), name=path.name, checksum=True)
    return artifact
