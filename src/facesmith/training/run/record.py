"""A run's record, `run.json`: command, settings, environment, progress and result."""

import json
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil
from hydra.core.hydra_config import HydraConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import facesmith
from facesmith.config.renamed import upgrade
from facesmith.errors import PrunedError, UserError
from facesmith.files import write_text
from facesmith.training.run.environment import PeakMemory, git_commit, package_versions

RECORD_FILE = "run.json"
Status = Literal["running", "completed", "failed", "pruned", "interrupted", "killed"]
Mode = Literal["min", "max"]


class Monitor(BaseModel):
    """A metric and which way it is good."""

    name: str
    mode: Mode


class Best(BaseModel):
    """A metric's value in the epoch in which the monitored metric was best."""

    value: float
    epoch: int
    """From 0; -1 is before training."""


class Metrics(BaseModel):
    """A run's metrics by name."""

    last: dict[str, float] = Field(default_factory=dict)
    """Those of the last validation."""
    best: dict[str, Best] = Field(default_factory=dict)
    """Those of the epoch in which the monitored one was best."""


class Failure(BaseModel):
    """Why a run did not end well."""

    kind: str
    """The exception's class, or `Killed`."""
    message: str
    """In one line."""
    traceback: str | None
    """Of the exception; of a killed run that of the process that noticed."""


class RunRecord(BaseModel):
    """One run, as `run.json` holds it. Times are ISO 8601, UTC."""

    model_config = ConfigDict(extra="ignore")

    status: Status
    experiment: str | None
    name: str
    overrides: list[str]
    """Of the command line, without those of the run's path."""
    swept: dict[str, Any] = Field(default_factory=dict)
    """The values of the swept keys, in a job of a sweep."""
    settings: dict[str, Any]
    """All of them, validated, as plain values."""
    command: list[str]
    facesmith: str
    python: str
    packages: dict[str, str]
    git_commit: str | None
    """Of the project's checkout, `+` marking uncommitted changes."""
    host: str
    pid: int
    started: str
    finished: str | None = None
    seconds: float = 0.0
    """Of all parts of a resumed run together."""
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None
    epochs: int = 0
    """Whole epochs done."""
    steps: int = 0
    """Optimiser steps done."""
    trained: bool = True
    """Whether the run is to train at all; false with `trainer.max_epochs=0`."""
    monitor: Monitor | None = None
    """The first of `objectives`."""
    objectives: list[Monitor] = Field(default_factory=list)
    objective: float | list[float] | None = None
    """The values of `objectives` at the end: one, or a list of several."""
    metrics: Metrics = Field(default_factory=Metrics)
    checkpoint: str | None = None
    """The best one, or the last; in the file relative to the run's folder, after `read_record` with it."""
    wandb_id: str | None = None
    error: Failure | None = None
    resumed: list[str] = Field(default_factory=list)
    """When the run was resumed."""


class Recorder:
    """Keep one run's record up to date; every change is on disk at once.

    Args:
        folder: Of the run.
        record: To begin with.
        writes: Whether anything is written; false in all but the first process of a distributed run.
    """

    def __init__(self, folder: Path, record: RunRecord, writes: bool) -> None:
        self.folder, self.record, self._writes = folder, record, writes
        self._memory = PeakMemory()
        self._began, self._before = time.monotonic(), record.seconds

    def update(self, **changes: Any) -> None:
        """Set fields of the record.

        Args:
            changes: Values by field of `RunRecord`.
        """
        self.record = self.record.model_copy(update=changes)
        self._write()

    def reset_metrics(self) -> None:
        """Forget the metrics of an earlier start in this folder: nothing of it is used."""
        self.update(epochs=0, steps=0, metrics=Metrics())

    def update_metrics(self, epochs: int, steps: int, metrics: Mapping[str, float], validated: int | None) -> None:
        """Record progress and metrics.

        Args:
            epochs: Whole epochs done.
            steps: Optimiser steps done.
            metrics: The last values by name.
            validated: The epoch, from 0, that was validated just now, -1 before training; None: none was.
        """
        monitor, best = self.record.monitor, self.record.metrics.best
        last = {name: float(value) for name, value in metrics.items()}
        if validated is not None and monitor and monitor.name in last:
            old = best.get(monitor.name)
            sign = 1 if monitor.mode == "min" else -1
            if old is None or sign * last[monitor.name] < sign * old.value:
                best = {name: Best(value=value, epoch=validated) for name, value in last.items()}
        self.update(epochs=epochs, steps=steps, metrics=Metrics(last=last, best=best))

    def set_result(self, objective: float | Sequence[float] | None, checkpoint: Path | None) -> None:
        """Record what the run returns to a sweep, and the checkpoint to use.

        Args:
            objective: Values of the objectives: one, several, or None.
            checkpoint: The best one, or the last.
        """
        inside = checkpoint is not None and checkpoint.resolve().is_relative_to(self.folder.resolve())
        place = checkpoint.resolve().relative_to(self.folder.resolve()) if checkpoint and inside else checkpoint
        values = objective if objective is None or isinstance(objective, float | int) else list(objective)
        self.update(objective=values, checkpoint=None if place is None else str(place))

    def close(self, status: Status, error: BaseException | None) -> None:
        """Record how the run ended.

        Args:
            status: Of the run from now on.
            error: Why it did not end well.
        """
        self.update(status=status, error=None if error is None else describe_failure(error), finished=_now())

    def _write(self) -> None:
        if not self._writes:
            return
        memory, gpu_memory = self._memory.megabytes()
        seconds = round(self._before + time.monotonic() - self._began, 2)
        update = {"seconds": seconds, "peak_memory_mb": memory, "peak_gpu_memory_mb": gpu_memory}
        self.record = self.record.model_copy(update=update)
        _save(self.folder, self.record)


@contextmanager
def record_run(
    folder: Path,
    *,
    experiment: str | None,
    name: str,
    settings: Mapping[str, Any],
    objectives: Sequence[Monitor] = (),
    swept_values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] | None = None,
    writes: bool = True,
) -> Iterator[Recorder]:
    """Record a run from its start to its end, however it ends; exceptions pass through.

    A resumed run keeps its start, its best metrics and its time, and notes when it was resumed.

    Args:
        folder: Of the run.
        experiment: Its name.
        name: Of the run.
        settings: The validated ones, as plain values.
        objectives: Metrics the run is compared by; the first is monitored.
        swept_values: Of the swept keys, in a job of a sweep.
        overrides: Of the command line; None: those Hydra has.
        writes: False in all but the first process of a distributed run.

    Yields:
        The recorder, which knows the record.
    """
    earlier = _read_earlier(folder)
    record = RunRecord(
        status="running",
        experiment=experiment,
        name=name,
        overrides=_filter_overrides(overrides),
        swept=dict(swept_values or {}),
        settings=dict(settings),
        command=list(sys.argv),
        facesmith=facesmith.__version__,
        python=sys.version.split()[0],
        packages=package_versions(),
        git_commit=git_commit(),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=_now(),
        monitor=objectives[0] if objectives else None,
        objectives=list(objectives),
    )
    if earlier is not None:
        kept = {key: getattr(earlier, key) for key in ("started", "seconds", "epochs", "steps", "metrics", "wandb_id")}
        record = record.model_copy(update={**kept, "resumed": [*earlier.resumed, record.started]})
    recorder = Recorder(folder, record, writes)
    recorder.update()
    try:
        yield recorder
    except BaseException as error:
        recorder.close(_status(error), error)
        raise
    recorder.close("completed", None)


def read_record(folder: Path) -> RunRecord:
    """Read a run's record; a running one whose process is gone gets the status `killed`.

    Raises:
        UserError: There is no record, or it is none.
    """
    path = folder / RECORD_FILE
    try:
        record = RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the folder of a run") from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(f"{path}: not a record of a run ({str(error).splitlines()[0]})") from None
    update: dict[str, Any] = {"settings": upgrade(record.settings)}
    if record.status == "running" and record.host == socket.gethostname() and not _is_alive(record):
        update["status"] = "killed"
    if record.checkpoint is not None:
        update["checkpoint"] = str(folder / record.checkpoint)
    return record.model_copy(update=update)


def mark_killed(folder: Path, message: str, trace: str | None) -> None:
    """Record that a run whose process is gone was killed.

    Args:
        folder: Of the run.
        message: What is known, in one line.
        trace: Traceback of the process that noticed.
    """
    record = RunRecord.model_validate_json((folder / RECORD_FILE).read_text(encoding="utf-8"))
    error = Failure(kind="Killed", message=message, traceback=trace)
    _save(folder, record.model_copy(update={"status": "killed", "error": error, "finished": _now()}))


def describe_failure(error: BaseException) -> Failure:
    """Return an exception's class, message and traceback."""
    text = "".join(traceback.format_exception(error))
    return Failure(kind=type(error).__name__, message=" ".join(str(error).split()), traceback=text)


def _status(error: BaseException) -> Status:
    if isinstance(error, PrunedError):
        return "pruned"
    return "failed" if isinstance(error, Exception) else "interrupted"


def _save(folder: Path, record: RunRecord) -> None:
    write_text(folder / RECORD_FILE, json.dumps(record.model_dump(mode="json"), indent=2))


def _read_earlier(folder: Path) -> RunRecord | None:
    try:
        return read_record(folder)
    except UserError:
        return None


def _is_alive(record: RunRecord) -> bool:
    """Return whether the record's process lives; another process may have its number by now."""
    try:
        began = psutil.Process(record.pid).create_time()
        latest = datetime.fromisoformat(record.resumed[-1] if record.resumed else record.started).timestamp()
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the latter two of a record that nobody's run wrote
        return False
    return began <= latest + 2  # seconds; the record's time is rounded down


def _filter_overrides(overrides: Sequence[str] | None) -> list[str]:
    """Return the overrides without those of resuming and of the sweep's folders."""
    if overrides is None:
        overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return [str(one) for one in overrides if not re.match(r"\+*resume=|hydra\.", str(one))]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
