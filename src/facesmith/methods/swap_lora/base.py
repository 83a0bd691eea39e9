"""The base of a LoRA: a run, a checkpoint or an ONNX file, and its properties."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from facesmith.config.adapters import SwapperFileSettings
from facesmith.config.saved import read_settings, upgrade_settings
from facesmith.config.settings import GeneratorConfig, LossConfig, ModuleConfig
from facesmith.errors import UserError
from facesmith.models.checkpoint import RECORD, load_module, read_checkpoint
from facesmith.models.onnx.info import SwapperInfo
from facesmith.models.onnx.swapper_file import read_info
from facesmith.models.onnx.to_torch.generator import load_generator
from facesmith.models.swapper.generator import SwapGenerator
from facesmith.training.run.checkpoint_files import CHECKPOINT_FOLDER, LAST_CHECKPOINT
from facesmith.training.run.record import RECORD_FILE
from facesmith.training.swapping.module import SwapModule
from facesmith.training.swapping.splits import TEMPLATE

_STATE = "ExactState"


@dataclass(frozen=True)
class BaseSwapper:
    """Properties of a base, without its network.

    Attributes:
        path: The file itself.
        kind: A checkpoint of facesmith, or an ONNX file.
        generator: Name of the network's class, or the file's model type.
        size: Side of its crops in px.
        train_size: Side in px it was trained at.
        embedder: Recogniser its identities are measured with.
        identity: Identity it was trained on, "" for none.
        face_set: Key of that person's face set, "" for none.
        holdout_frames: Last share of that person's frames which it never saw.
        scenes: Media of the scenes it learnt, None for none.
        loss: Settings of what it learnt by, None for a file.
        file: Properties of an ONNX file, None for a checkpoint.
    """

    path: Path
    kind: Literal["checkpoint", "onnx"]
    generator: str
    size: int
    train_size: int
    embedder: str
    identity: str
    face_set: str
    holdout_frames: float
    scenes: str | list[str] | None = None
    loss: LossConfig | None = None
    file: SwapperInfo | None = None


@runtime_checkable
class _TrainsGenerator(Protocol):
    """Settings of a module that trains a whole swapper."""

    generator: GeneratorConfig
    loss: LossConfig
    train_size: int


def find_base(path: Path) -> Path:
    """Return the best checkpoint of a run's folder, or of the newest run in a folder; a file is given as it is.

    Raises:
        UserError: there is none.
    """
    if not path.is_dir():
        return path
    for run in (path, *sorted(path.glob("[!.]*/"), reverse=True)):
        for found in (_recorded(run), run / CHECKPOINT_FOLDER / LAST_CHECKPOINT):
            if found is not None and found.is_file():
                return found
    raise UserError(f"model.base={path}: no run with a checkpoint; give a run's folder, a .ckpt or an .onnx")


def read_base(given: Path, onnx: SwapperFileSettings) -> BaseSwapper:
    """Read a base's properties.

    Args:
        given: A run's folder, a checkpoint or an ONNX file.
        onnx: Properties that an ONNX file does not state.

    Raises:
        UserError: It is missing, damaged, or no face swapper.
    """
    path = find_base(given)
    if not path.is_file():
        raise UserError(f"model.base={given}: no such file; give a run's folder, its checkpoint, or an .onnx")
    if path.suffix in (".onnx", ".dfm"):
        return _of_file(path, onnx)
    checkpoint = read_checkpoint(path)
    record = checkpoint[RECORD]
    settings = read_settings(record["settings"], ModuleConfig, f"model.base={given}", version=record.get("version"))
    provenance = record["provenance"]
    if not isinstance(settings, _TrainsGenerator) or not {"embedder", "identity", "face_set"} <= provenance.keys():
        raise UserError(f"model.base={given}: holds no face swapper; give an identity's run or checkpoint")
    generator = settings.generator.model_dump()
    data = upgrade_settings(_training_settings(checkpoint).get("data", {}), path)
    return BaseSwapper(
        path=path,
        kind="checkpoint",
        generator=settings.generator.target_.rpartition(".")[2],
        size=generator["size"],
        train_size=settings.train_size,
        embedder=provenance["embedder"],
        identity=provenance["identity"],
        face_set=provenance["face_set"],
        holdout_frames=data.get("holdout_frames", 0.0),
        scenes=data.get("targets"),
        loss=settings.loss,
    )


def open_generator(base: BaseSwapper) -> SwapGenerator:
    """Build a base's network with its weights, in eval mode.

    Raises:
        UserError: it does not load.
    """
    if base.file is not None:
        file = load_generator(base.file)
        file.set_template(TEMPLATE)
        return file
    module = load_module(base.path)
    assert isinstance(module, SwapModule)
    return module.generator


def _of_file(path: Path, onnx: SwapperFileSettings) -> BaseSwapper:
    info = read_info(path, setting="model.base", group="model.onnx", **onnx.model_dump())
    return BaseSwapper(
        path=path,
        kind="onnx",
        generator=info.kind,
        size=info.size,
        train_size=info.size,
        embedder=info.embedder,
        identity=info.identity if info.identity_baked_in else "",
        face_set=info.face_set if info.identity_baked_in else "",
        holdout_frames=0.0,
        file=info,
    )


def _training_settings(checkpoint: object) -> dict[str, Any]:
    """Return the settings of the training that a checkpoint was saved in; empty where it stores none."""
    found = checkpoint
    for key in ("callbacks", _STATE, "settings"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _recorded(run: Path) -> Path | None:
    """Return the best checkpoint, as the run's own record names it."""
    try:
        named = json.loads((run / RECORD_FILE).read_text(encoding="utf-8")).get("checkpoint")
    except (OSError, ValueError, RecursionError):
        return None
    return run / named if isinstance(named, str) else None
