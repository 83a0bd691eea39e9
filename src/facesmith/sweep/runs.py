"""The runs below a folder, as they are: whole, running, failed, killed, damaged, or never begun."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.sweep.curves import epochs_logged
from facesmith.training.run.record import FILE, RunRecord, read

DAMAGED: Final = "damaged"
NOT_BEGUN: Final = "not begun"
ORDER: Final = ("running", "completed", "pruned", "failed", "killed", "interrupted", DAMAGED, NOT_BEGUN)
_NO_RUNS = ("wandb", "checkpoints", "renders", "exports", ".hydra")


@dataclass(frozen=True)
class Run:
    """One run's folder; `name` is its place below the folder that all runs share.

    `record` is None when there is none to be read, and `problem` says why.
    """

    folder: Path
    name: str
    record: RunRecord | None
    problem: str = ""

    @property
    def status(self) -> str:
        """Give the record's status, or what there is instead of a record."""
        if self.record is not None:
            return self.record.status
        return DAMAGED if self.problem else NOT_BEGUN

    @property
    def error(self) -> str:
        """Give why it did not end well, in one line, or ""."""
        if self.record is not None and self.record.error is not None:
            return f"{self.record.error.kind}: {self.record.error.message}"
        return self.problem

    @property
    def planned_epochs(self) -> int | None:
        """Give how many epochs the run was to have, when its settings say so."""
        epochs = self.settings.get("trainer.max_epochs")
        return epochs if isinstance(epochs, int) and epochs > 0 else None

    @cached_property
    def epochs(self) -> int:
        """Give the whole epochs done; of a run that did not end by itself as far as its log goes."""
        if self.record is None:
            return 0
        return self.record.epochs if self.status == "completed" else max(self.record.epochs, epochs_logged(self.folder))

    @cached_property
    def seconds(self) -> float:
        """Give the time it took so far."""
        if self.record is None:
            return 0.0
        since = time.time() - (self.folder / FILE).stat().st_mtime if self.status == "running" else 0.0
        return self.record.seconds + max(0.0, since)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Give the settings by dotted key."""
        return {} if self.record is None else flat(self.record.settings)


def find_runs(root: Path) -> list[Run]:
    """Find every run below a folder, which may be a run itself, in the order of their names, numbers as numbers.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give a sweep's, or one that holds runs")
    folders = list(_run_folders(root))
    if not folders:
        raise UserError(f"{root}: holds no run; give a sweep's folder, such as runs/identity/ada/<time>_sweep")
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return sorted((_run(folder, str(folder.relative_to(shared))) for folder in folders), key=_place)


def counts(runs: list[Run]) -> dict[str, int]:
    """Count the runs by status, in a fixed order."""
    found = Counter(run.status for run in runs)
    return {status: found[status] for status in ORDER if found[status]}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Give nested mappings as one, by dotted key; lists are values."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value} if prefix else {}
    return {
        k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _run_folders(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        folder = Path(place)
        if FILE in files or ".hydra" in folders:
            folders.clear()
            yield folder
        elif folder.parent.name.endswith("_sweep") and folder.name.isdigit():
            folders.clear()  # a job's folder, made and no more
            yield folder
        folders[:] = [name for name in folders if name not in _NO_RUNS]


def _place(run: Run) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in Path(run.name).parts]


def _run(folder: Path, name: str) -> Run:
    if not (folder / FILE).is_file():
        return Run(folder, name, None)
    try:
        return Run(folder, name, read(folder))
    except UserError as error:
        return Run(folder, name, None, str(error).removeprefix(f"{folder}/"))
