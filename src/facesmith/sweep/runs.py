"""The runs below a folder: their states, settings and learning curves, and the commands that train them again."""

import csv
import math
import os
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from facesmith.config.conf_folder import folders
from facesmith.errors import UserError
from facesmith.training.run.record import RECORD_FILE, RunRecord, read_record
from facesmith.training.run.resume import flatten, resume_command

_FLAGS: Final = {"-cd": "-cd", "--config-dir": "-cd", "-cn": "-cn", "--config-name": "-cn"}
_METRICS: Final = "metrics.csv"
_MAX_POINTS: Final = 160  # of a curve, about
_TAIL: Final = 16_384  # bytes
_CURVES: Final = ("val", "train/loss")  # prefixes of their metrics

Curves = dict[str, list[tuple[float, float]]]

DAMAGED: Final = "damaged"
NOT_BEGUN: Final = "not begun"
ORDER: Final = ("running", "completed", "pruned", "failed", "killed", "interrupted", DAMAGED, NOT_BEGUN)
_NO_RUNS = ("wandb", "checkpoints", "renders", "exports", ".hydra")


@dataclass(frozen=True)
class Run:
    """A run by its folder."""

    folder: Path
    name: str
    """Its path below the folder that all runs share."""
    record: RunRecord | None
    """None when there is none that can be read."""
    problem: str = ""
    """Why a record cannot be read."""

    @property
    def status(self) -> str:
        """Return the record's status, or what there is instead of a record."""
        if self.record is not None:
            return self.record.status
        return DAMAGED if self.problem else NOT_BEGUN

    @property
    def error(self) -> str:
        """Return why it did not end well, in one line, or ""."""
        if self.record is not None and self.record.error is not None:
            return f"{self.record.error.kind}: {self.record.error.message}"
        return self.problem

    @property
    def planned_epochs(self) -> int | None:
        """Return the planned number of epochs, if the settings state it."""
        epochs = self.settings.get("trainer.max_epochs")
        return epochs if isinstance(epochs, int) and epochs > 0 else None

    @cached_property
    def epochs(self) -> int:
        """Return the whole epochs done; of an unfinished run, up to the end of its log."""
        if self.record is None:
            return 0
        return (
            self.record.epochs
            if self.status == "completed"
            else max(self.record.epochs, count_logged_epochs(self.folder))
        )

    @cached_property
    def seconds(self) -> float:
        """Return the time it took so far."""
        if self.record is None:
            return 0.0
        since = time.time() - (self.folder / RECORD_FILE).stat().st_mtime if self.status == "running" else 0.0
        return self.record.seconds + max(0.0, since)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the settings by dotted key."""
        return {} if self.record is None else flatten(self.record.settings)


def find_runs(root: Path) -> list[Run]:
    """Find every run below a folder, which may be a run itself, in the order of their names, numbers as numbers.

    Args:
        root: The folder.

    Raises:
        UserError: There is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give a sweep's, or one that holds runs")
    folders = list(_run_folders(root))
    if not folders:
        raise UserError(f"{root}: holds no run; give a sweep's folder, such as runs/identity/ada/<time>_sweep")
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return sorted((_run(folder, str(folder.relative_to(shared))) for folder in folders), key=_place)


def count_by_status(runs: list[Run]) -> dict[str, int]:
    """Count the runs by status, in a fixed order."""
    found = Counter(run.status for run in runs)
    return {status: found[status] for status in ORDER if found[status]}


def _run_folders(root: Path) -> Iterator[Path]:
    for place, names, files in os.walk(root):
        folder = Path(place)
        if RECORD_FILE in files or ".hydra" in names:
            names.clear()
            yield folder
        elif folder.parent.name.endswith("_sweep") and folder.name.isdigit():
            names.clear()  # a job's folder, made and no more
            yield folder
        names[:] = [name for name in names if name not in _NO_RUNS]


def _place(run: Run) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in Path(run.name).parts]


def _run(folder: Path, name: str) -> Run:
    if not (folder / RECORD_FILE).is_file():
        return Run(folder, name, None)
    try:
        return Run(folder, name, read_record(folder))
    except UserError as error:
        return Run(folder, name, None, str(error).removeprefix(f"{folder}/"))


def rerun_command(record: RunRecord) -> str:
    """Return the one command that trains a run of a sweep again, on its own and in a new folder."""
    flags = _config_flags(record.command)
    alone = ["hydra.mode=RUN"] if flags else []  # a sweep's own file sets the mode
    return shlex.join(["facesmith", "train", *flags, *record.overrides, *alone])


def continue_command(run: Run) -> str:
    """Return the command that continues a run in its own folder, for as many epochs again."""
    epochs = 2 * (run.planned_epochs or 1)
    return f"{resume_command(Path(run.folder).resolve())} trainer.max_epochs={epochs}"


def _config_flags(arguments: list[str]) -> list[str]:
    """Extract the flags of the primary config from a command line."""
    flags: list[str] = []
    for position, argument in enumerate(arguments[1:], 1):
        name, equals, value = argument.partition("=")
        if name in _FLAGS:
            flags += [_FLAGS[name], value if equals else arguments[position + 1]]
    chosen = dict(zip(flags[::2], flags[1::2], strict=True))
    known = [folder.resolve() for folder in folders("sweeps")]
    if chosen.keys() == {"-cd", "-cn"} and Path(chosen["-cd"]).resolve() in known:
        return [f"sweep={chosen['-cn']}"]
    return flags


def read_curves(folder: Path) -> Curves:
    """Return a run's learning curves: (step, value) pairs by name, of the validation's metrics and the loss.

    Args:
        folder: Of the run; of a damaged log what can be read.
    """
    try:
        with (folder / _METRICS).open(newline="", encoding="utf-8", errors="replace") as file:
            return _collect_curves(csv.DictReader(line.replace("\0", "") for line in file))
    except (OSError, csv.Error):
        return {}


def count_logged_epochs(folder: Path) -> int:
    """Return the number of whole epochs by the end of a run's log; 0 when there is none."""
    try:
        with (folder / _METRICS).open("rb") as file:
            header = file.readline().decode(errors="replace").strip().split(",")
            file.seek(max(file.tell(), file.seek(0, 2) - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0
    cells = [line.split(",") for line in lines]
    place = header.index("epoch") if "epoch" in header else len(header)
    found = [_parse_number(row[place]) for row in cells if len(row) == len(header) and place < len(row)]
    return int(max((epoch for epoch in found if epoch is not None), default=0))


def _collect_curves(rows: Iterable[dict[str, str]]) -> Curves:
    curves: Curves = {}
    for row in rows:
        step = _parse_number(row.get("step"))
        if step is None:
            continue
        for name, text in row.items():
            if name and name.startswith(_CURVES) and (value := _parse_number(text)) is not None:
                curves.setdefault(name, []).append((step, value))
    return {name: _thin_out(points) for name, points in curves.items()}


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _thin_out(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours, so that a noisy curve keeps its course."""
    size = max(1, math.ceil(len(points) / _MAX_POINTS))
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], float(f"{sum(v for _, v in group) / len(group):.5g}")) for group in groups]
