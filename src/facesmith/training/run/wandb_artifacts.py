"""Lineage as artifacts in W&B: face set -> checkpoint -> ONNX -> swapped picture or video."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb

from facesmith.errors import UserError
from facesmith.training.run.naming import run_id

_FACE_SET_KEYS = ("identity", "face_set", "faces", "embedder", "consent", "consent_note")


def make_face_set_artifact(provenance: Mapping[str, Any]) -> wandb.Artifact:
    """Make the artifact of a face set, without pictures or embeddings; the same set gives the same artifact.

    Args:
        provenance: Of the module.
    """
    shared = {key: provenance[key] for key in _FACE_SET_KEYS if key in provenance}
    artifact = wandb.Artifact(f"faces-{provenance['identity']}", type="face-set", metadata=shared)
    with artifact.new_file("face_set.json") as file:
        json.dump(shared, file, indent=2, sort_keys=True)
    return artifact


def make_files_artifact(
    name: str, kind: str, files: Sequence[Path], metadata: Mapping[str, Any], *, upload: bool
) -> wandb.Artifact:
    """Make an artifact of files.

    Args:
        name: Of the artifact.
        kind: Its type in W&B.
        files: Paths.
        metadata: Metadata.
        upload: Whether the files go to W&B; otherwise path, size and hash.
    """
    size = sum(path.stat().st_size for path in files)
    artifact = wandb.Artifact(name, type=kind, metadata={**metadata, "bytes": size})
    for path in files:
        if upload:
            artifact.add_file(str(path), name=path.name)
        else:
            artifact.add_reference(path.resolve().as_uri(), name=path.name, checksum=True)
    return artifact


def make_onnx_artifact(exports: Path, run: str, metadata: Mapping[str, Any], *, upload: bool) -> wandb.Artifact | None:
    """Make the artifact of a run's exports; None when there are none.

    Args:
        exports: Folder of the exports.
        run: Id of the run.
        metadata: Metadata.
        upload: Whether the files go to W&B.
    """
    files = sorted(path for path in exports.glob("*") if path.is_file())
    return make_files_artifact(f"{run}-onnx", "onnx", files, metadata, upload=upload) if files else None


def log_swap(output: Path, model: Path, project: str, entity: str | None, save_dir: Path) -> str:
    """Log to W&B that a picture or video was made with a run's ONNX file, by path, size and hash.

    Online the W&B run uses the ONNX artifact, which draws the line; W&B takes no inputs offline, where the metadata
    names it. Nothing of the picture leaves this machine.

    Args:
        output: The picture or video.
        model: `<run folder>/exports/<name>.onnx`.
        project: Of W&B.
        entity: Team or user of W&B; None: the key's own.
        save_dir: Folder of all runs.

    Returns:
        The id of the W&B run.

    Raises:
        UserError: A file is missing, or the model does not lie in a run's folder.
    """
    for path in (output, model):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if model.parent.name != "exports":
        raise UserError(f"{model}: is not in a run's folder; give <run folder>/exports/<name>.onnx")
    trained = run_id(model.parent.parent)
    save_dir.mkdir(parents=True, exist_ok=True)
    online = wandb.login(prompt=False)
    settings = wandb.Settings(silent=True, console="off")
    mode: Literal["online", "offline"] = "online" if online else "offline"
    started = wandb.init(
        project=project,
        entity=entity,
        dir=str(save_dir),
        job_type="swap",
        name=output.name,
        group=trained,
        mode=mode,
        settings=settings,
    )
    with started as run:
        made_with = make_onnx_artifact(model.parent, trained, {"run": trained}, upload=False)
        if online and made_with is not None:
            run.use_artifact(made_with)
        metadata = {"model": model.name, "onnx": f"{trained}-onnx"}
        run.log_artifact(make_files_artifact(f"swap-{output.stem}", "swap", [output], metadata, upload=False))
        return run.id
