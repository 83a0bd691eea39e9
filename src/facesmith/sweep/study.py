"""The Optuna study of a sweep: its storage, sampler and pruner."""

import inspect
from pathlib import Path
from typing import Any, Final, Literal

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from facesmith.errors import UserError
from facesmith.sweep.config import Direction, PrunerConfig, SamplerConfig
from facesmith.sweep.optuna_internals import ProcessLock

NAME: Final = "sweep"
JOURNAL: Final = "study.journal"
SQLITE: Final = "study.db"

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
    """Create the study of a sweep, or open it; an entry cut off by a kill is dropped.

    Args:
        folder: Of the sweep.
        storage: Kind of file.
        directions: One per objective.
        pruner: Its settings.
    """
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
    """Open the study of a sweep, to read it or to report to it.

    Args:
        folder: Of the sweep.
        pruner: Its settings; None: nothing is pruned.

    Raises:
        UserError: There is none.
    """
    found = next((kind for kind, file in (("journal", JOURNAL), ("sqlite", SQLITE)) if (folder / file).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: contains no sweep ({JOURNAL} or {SQLITE}); give the folder of a sweep")
    return optuna.load_study(
        study_name=NAME,
        storage=_storage(folder, found),
        sampler=RandomSampler(),
        pruner=NopPruner() if pruner is None else make_pruner(pruner),
    )


def make_sampler(config: SamplerConfig, seed: int, parallel: bool) -> BaseSampler:
    """Make the sampler of one point.

    Args:
        config: Its settings.
        seed: Of what it draws.
        parallel: Whether other points are under way.

    Raises:
        UserError: An option the sampler does not have.
    """
    kind = _SAMPLERS[config.name]
    more: dict[str, Any] = {"constant_liar": True} if parallel and config.name == "tpe" else {}
    return _make(kind, "sampler", config.name, {**more, **config.options()}, seed=seed)


def make_pruner(config: PrunerConfig) -> BasePruner:
    """Make the pruner.

    Args:
        config: Its settings.

    Raises:
        UserError: An option the pruner does not have.
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
