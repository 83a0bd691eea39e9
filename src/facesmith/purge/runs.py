"""Find runs that were trained on a face, or initialised from one that was."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # OmegaConf raises it

from facesmith.errors import UserError
from facesmith.purge.links import Link, find_link
from facesmith.purge.removal import RECORD, Trace, read_json

COMPOSED = Path(".hydra", "config.yaml")
CHECKPOINTS = "checkpoints"
_SWEEP = "_sweep"
_ENTRY = re.compile(r"[0-9a-f]{24}")  # name of a file of `methods.video_lora.cache`


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, its settings, and its record as far as there is one."""

    path: Path
    settings: dict[str, Any]
    record: dict[str, Any]

    @property
    def identity(self) -> str:
        """The identity it is trained on, "" when unknown."""
        if said := read_json(self.path / "adapter" / "adapter.json").get("identity"):
            return str(said)  # such a run is named after its scene
        data = self.settings.get("data")
        return str(data.get("name") or "") if isinstance(data, Mapping) else ""

    @property
    def identities(self) -> set[str]:
        """The same, and all others where it learns several people's."""
        data = self.settings.get("data")
        faces = data.get("faces") if isinstance(data, Mapping) else None
        return {self.identity, *map(str, faces)} if isinstance(faces, Mapping) else {self.identity}


def find_run_folders(root: Path) -> Iterator[RunFolder]:
    """Return the runs under a folder, links not followed."""
    if not root.is_dir():
        return
    folders = [root]
    while folders:
        folder = folders.pop()
        if (folder / RECORD).is_file() or (folder / COMPOSED).is_file() or (folder / CHECKPOINTS).is_dir():
            record = read_json(folder / RECORD)
            said = record.get("settings")
            settings = said if isinstance(said, dict) and said else _composed(folder / COMPOSED)
            yield RunFolder(folder, settings, record)
            continue
        folders += [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()]


def traces_in_runs(name: str, keys: set[str], root: Path) -> list[Trace]:
    """Find the runs that learnt a person, with W&B's local records and the caches of them.

    A run counts by the identity's name, by the key of a face set, or because it began from such a run. A sweep all of
    whose jobs count is one trace.

    Args:
        name: The identity.
        keys: Of the person's own face sets.
        root: Folder of runs.
    """
    runs = sorted(find_run_folders(root), key=lambda run: run.path)
    why: dict[Path, str] = {}
    shared: dict[Path, Link] = {}
    for run in runs:
        if name in run.identities:
            why[run.path] = "trained on this identity"
        elif link := _from_checkpoint(run, name, keys):
            if link.shared_with:
                shared[run.path] = link
            else:
                why[run.path] = link.why
    while found := {
        run.path: f"began from {parent}"
        for run in runs
        if run.path not in why and (parent := _parent(run, why)) is not None
    }:
        why |= found
    shared = {path: link for path, link in shared.items() if path not in why}
    traces = []
    sweeps = {run.path.parent for run in runs if run.path in why and run.path.parent.name.endswith(_SWEEP)}
    whole = {sweep for sweep in sweeps if all(run.path in why for run in runs if run.path.parent == sweep)}
    for sweep in sorted(whole):
        jobs = sum(path.parent == sweep for path in why)
        traces.append(Trace("run", (sweep,), f"a sweep, all {jobs} jobs of it trained on this identity"))
    traces += [Trace("run", (path,), reason) for path, reason in sorted(why.items()) if path.parent not in whole]
    said = (run.record.get("wandb_id") for run in runs if run.path in why)
    ids = {one for one in said if isinstance(one, str) and one}
    traces += [Trace("run", (path,), link.why, link.shared_with) for path, link in sorted(shared.items())]
    return [*traces, *_caches(run for run in runs if run.path in why), *_wandb(root, ids)]


def models_in_runs(traces: list[Trace]) -> Iterator[Path]:
    """Yield the models that lie in runs among the traces: copies of them may lie elsewhere."""
    for trace in traces:
        if trace.kind == "run" and not trace.shared_with:
            yield from (path for path in trace.contents() if path.suffix in (".onnx", ".dfm"))


def _from_checkpoint(run: RunFolder, name: str, keys: set[str]) -> Link | None:
    newest = sorted((run.path / CHECKPOINTS).glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    if not newest:
        return None
    from facesmith.models.checkpoint import RECORD as CHECKPOINT_RECORD  # imports torch
    from facesmith.models.checkpoint import read_checkpoint

    try:
        provenance = read_checkpoint(newest[-1])[CHECKPOINT_RECORD].get("provenance") or {}
    except UserError:
        return None
    return find_link(provenance, name, keys)


def _parent(run: RunFolder, involved: Mapping[Path, str]) -> Path | None:
    """Return the run that one began from, when it is among the involved."""
    for text in _strings({key: run.settings.get(key) for key in ("model", "data")}):
        path = Path(text).absolute()
        for other in involved:
            if "/" in text and path.is_relative_to(other.absolute()):
                return other
    return None


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _caches(runs: Iterable[RunFolder]) -> Iterator[Trace]:
    """Return cached faces and videos in a cache that several runs share: the entries do not state whose they are."""
    data = (run.settings.get("data") for run in runs)
    folders = {one["cache"] for one in data if isinstance(one, Mapping) and isinstance(one.get("cache"), str)} - {""}
    for folder in sorted(folders):
        # a run from somebody else may name any folder: only what has the name of an entry is one
        entries = sorted(path for path in Path(folder).glob("*/*.safetensors") if _ENTRY.fullmatch(path.stem))
        if entries:
            yield Trace(
                "cache", tuple(entries), f"{len(entries)} entries of such a run and others; made again when needed"
            )


def _wandb(root: Path, ids: set[Any]) -> Iterator[Trace]:
    for folder in sorted((root / "wandb").glob("*run-*")):
        if folder.is_dir() and not folder.is_symlink() and any(folder.name.endswith(f"-{one}") for one in ids):
            yield Trace("W&B record", (folder,), "local record of such a run; what was uploaded, remove at W&B")


def _composed(path: Path) -> dict[str, Any]:
    """Return the composed settings with unresolved interpolations."""
    try:
        cfg = OmegaConf.load(path)
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}
    return plain if isinstance(plain, dict) else {}
