"""What was made of what, as artifacts in W&B: face set -> checkpoint -> ONNX -> swapped picture or video."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import wandb

from facesmith.errors import UserError
from facesmith.training.run.naming import run_id
from facesmith.training.run.record import Recorder, RunRecord

_FACES = ("identity", "face_set", "faces", "embedder", "consent", "consent_note")


def faces_artifact(told: Mapping[str, Any]) -> wandb.Artifact:
    """Describe a face set, without pictures or embeddings; the same set gives the same artifact in every run."""
    metadata = {key: told[key] for key in _FACES if key in told}
    artifact = wandb.Artifact(f"faces-{told['identity']}", type="face-set", metadata=metadata)
    with artifact.new_file("face_set.json") as file:
        json.dump(metadata, file, indent=2, sort_keys=True)
    return artifact


def files_artifact(
    name: str, kind: str, files: Sequence[Path], told: Mapping[str, Any], *, upload: bool
) -> wandb.Artifact:
    """Describe files: by path, size and hash, or with `upload` by the files themselves."""
    size = sum(path.stat().st_size for path in files)
    artifact = wandb.Artifact(name, type=kind, metadata={**told, "bytes": size})
    for path in files:
        if upload:
            artifact.add_file(str(path), name=path.name)
        else:
            artifact.add_reference(path.resolve().as_uri(), name=path.name, checksum=True)
    return artifact


def onnx_artifact(exports: Path, run: str, told: Mapping[str, Any], *, upload: bool) -> wandb.Artifact | None:
    """Describe a run's exports; None when there are none."""
    files = sorted(path for path in exports.glob("*") if path.is_file())
    return files_artifact(f"{run}-onnx", "onnx", files, told, upload=upload) if files else None


def tell_swap(output: Path, model: Path, project: str, entity: str | None, save_dir: Path) -> str:
    """Tell W&B that a picture or video was made with a run's ONNX file, by path, size and hash; give the run's id.

    Online the run uses the ONNX artifact, which draws the line; W&B takes no inputs offline, where the metadata names
    it. Nothing of the picture leaves this machine.

    Raises:
        UserError: a file is missing, or the model lies in no run's folder.
    """
    for path in (output, model):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if model.parent.name != "exports":
        raise UserError(f"{model}: lies in no run; give <run folder>/exports/<name>.onnx")
    trained = run_id(model.parent.parent)
    save_dir.mkdir(parents=True, exist_ok=True)
    online = wandb.login(prompt=False)
    settings = wandb.Settings(silent=True, console="off")
    mode = "online" if online else "offline"
    started = wandb.init(
        project=project,
        entity=entity,
        dir=str(save_dir),
        job_type="swap",
        name=output.name,
        group=trained,
        mode=mode,  # type: ignore[arg-type]
        settings=settings,
    )
    with started as run:
        made_with = onnx_artifact(model.parent, trained, {"run": trained}, upload=False)
        if online and made_with is not None:
            run.use_artifact(made_with)
        told = {"model": model.name, "onnx": f"{trained}-onnx"}
        run.log_artifact(files_artifact(f"swap-{output.stem}", "swap", [output], told, upload=False))
        return run.id


@contextmanager
def ended_in_wandb(recording: AbstractContextManager[Recorder]) -> Iterator[Recorder]:
    """Record a run, and end its W&B run, if there is one, as the record says.

    Without it the jobs of one sweep, which share a process, would merge into one run.
    """
    recorder: Recorder | None = None
    try:
        with recording as recorder:
            yield recorder
    finally:
        if recorder is not None:
            _end(recorder.record)


def _end(record: RunRecord) -> None:
    run = sys.modules["wandb"].run if "wandb" in sys.modules else None
    if run is None:
        return
    figures: dict[str, Any] = {
        "status": record.status,
        "seconds": record.seconds,
        "peak_memory_mb": record.peak_memory_mb,
    }
    figures |= {"error": f"{record.error.kind}: {record.error.message}"} if record.error else {}
    run.summary.update(figures)
    run.finish(exit_code=0 if record.status in ("completed", "pruned") else 1)
