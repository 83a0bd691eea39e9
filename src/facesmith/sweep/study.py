"""Where a sweep lies, so that the same command finds it again."""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from facesmith.errors import UserError
from facesmith.files import write_text
from facesmith.sweep.config import Direction, PrunerConfig, SamplerConfig
from facesmith.sweep.optuna_internals import ProcessLock

FILE: Final = "sweep.json"
LOCK: Final = ".sweep.lock"


def compute_fingerprint(description: Mapping[str, Any]) -> str:
    """Return a hash of what makes two sweeps the same."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choose_folder(proposed: Path, mark: str, resume: bool) -> Path:
    """Return the newest folder beside `proposed` that holds the sweep of this fingerprint, or else `proposed` itself.

    Raises:
        UserError: `proposed` holds another sweep, or one that is not to be resumed.
    """
    if (proposed / FILE).is_file():
        if _mark(proposed) != mark:
            raise UserError(f"{proposed}: holds another sweep; choose another hydra.sweep.dir")
        if not resume:
            raise UserError(f"{proposed}: holds this sweep already; choose another hydra.sweep.dir to start anew")
        return proposed
    found = sorted(path.parent for path in proposed.parent.glob(f"*/{FILE}")) if resume else []
    return next((folder for folder in reversed(found) if _mark(folder) == mark), proposed)


def write_description(folder: Path, mark: str, description: Mapping[str, Any]) -> None:
    """Write what the sweep is, for people and for `facesmith.sweep`."""
    text = {"fingerprint": mark, "command": sys.argv, **description}
    write_text(folder / FILE, json.dumps(text, indent=2, default=str))


@contextmanager
def lock_sweep(folder: Path) -> Iterator[None]:
    """Hold the sweep against a second process with the same command.

    Raises:
        UserError: another process runs it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder}: this sweep is running already; wait for it, or start another: hydra.sweeper.resume=false"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _mark(folder: Path) -> str | None:
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    mark = found.get("fingerprint") if isinstance(found, dict) else None
    return mark if isinstance(mark, str) else None


NAME = "sweep"
JOURNAL, SQLITE = "study.journal", "study.db"

_SAMPLERS: dict[str, type[BaseSampler]] = {
    "grid": RandomSampler,  # a grid's points wait in the study; nothing is drawn
    "random": RandomSampler,
    "tpe": TPESampler,
    "nsga2": NSGAIISampler,
}
_PRUNERS: dict[str, type[BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,
    "hyperband": HyperbandPruner,
    "halving": SuccessiveHalvingPruner,
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def create_study(
    folder: Path, storage: Literal["journal", "sqlite"], directions: list[Direction], pruner: PrunerConfig
) -> optuna.Study:
    """Make the study of a sweep folder, or open it; an entry cut off by a kill is dropped."""
    if storage == "journal":
        _drop_half_entry(folder / JOURNAL)
    return optuna.create_study(
        study_name=NAME,
        storage=_storage(folder, storage),
        directions=[StudyDirection.MINIMIZE if one == "min" else StudyDirection.MAXIMIZE for one in directions],
        pruner=make_pruner(pruner),
        load_if_exists=True,
    )


def open_study(folder: Path, pruner: PrunerConfig | None = None) -> optuna.Study:
    """Open the study of a sweep folder, to read it or to report to it.

    Raises:
        UserError: there is none.
    """
    found = next((kind for kind, file in (("journal", JOURNAL), ("sqlite", SQLITE)) if (folder / file).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: no sweep is here ({JOURNAL} or {SQLITE}); give the folder of a sweep")
    return optuna.load_study(
        study_name=NAME,
        storage=_storage(folder, found),
        sampler=RandomSampler(),
        pruner=NopPruner() if pruner is None else make_pruner(pruner),
    )


def make_sampler(config: SamplerConfig, seed: int, parallel: bool) -> BaseSampler:
    """Make the sampler of one point; `parallel` tells it that others are under way.

    Raises:
        UserError: an option the sampler does not have.
    """
    kind = _SAMPLERS[config.name]
    more: dict[str, Any] = {"constant_liar": True} if parallel and config.name == "tpe" else {}
    return _make(kind, "sampler", config.name, {**more, **config.options()}, seed=seed)


def make_pruner(config: PrunerConfig) -> BasePruner:
    """Make the pruner.

    Raises:
        UserError: an option the pruner does not have.
    """
    return _make(_PRUNERS[config.name], "pruner", config.name, config.options())


def _make(kind: type[Any], role: str, name: str, options: dict[str, Any], **own: Any) -> Any:
    known = [p for p in inspect.signature(kind).parameters if p not in own]
    for option in options:
        if option not in known:
            raise UserError(f"hydra.sweeper.{role}.{option}: {name} has no such option; it has {', '.join(known)}")
    try:
        return kind(**options, **own)
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.{role}: {error}") from None


def _storage(folder: Path, kind: str) -> BaseStorage:
    if kind == "journal":
        return JournalStorage(JournalFileBackend(str(folder / JOURNAL), ProcessLock(folder / f".{JOURNAL}.lock")))
    return RDBStorage(f"sqlite:///{folder.resolve() / SQLITE}", engine_kwargs={"connect_args": {"timeout": 120}})


def _drop_half_entry(path: Path) -> None:
    """Cut off what a process did not finish writing: Optuna reads no further than that."""
    if not path.is_file() or not (data := path.read_bytes()) or data.endswith(b"\n"):
        return
    with path.open("rb+") as file:
        file.truncate(data.rfind(b"\n") + 1)
