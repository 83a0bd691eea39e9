"""How much memory a job needed, also where several jobs share one process."""

import functools
import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil  # type: ignore[import-untyped]
from hydra.core.hydra_config import HydraConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import facesmith
from facesmith.config.renamed import upgrade
from facesmith.errors import PrunedError, UserError
from facesmith.files import write_text

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Watches the process's and the GPU's memory from its making on.

    Where the system cannot forget an earlier peak (macOS), the process's own is given.
    """

    def __init__(self) -> None:
        if os.access(_RESET, os.W_OK):
            _RESET.write_text("5")  # Linux: the peak begins anew
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def megabytes(self) -> tuple[float, float | None]:
        """Return the peaks so far, of the process's memory and of the GPU's, if there is one."""
        cuda = _cuda()
        return _process_peak(), None if cuda is None else round(cuda.max_memory_allocated() / 2**20, 1)


def _process_peak() -> float:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _cuda() -> Any:
    """Return torch's CUDA module when this process uses it already."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


FILE = "run.json"
Status = Literal["running", "completed", "failed", "pruned", "interrupted", "killed"]
Mode = Literal["min", "max"]

_PACKAGES = ("torch", "lightning", "numpy", "mediapipe", "onnx", "onnxruntime", "opencv-python", "av", "pydantic")


class Monitor(BaseModel):
    """A metric and which way it is good."""

    name: str
    mode: Mode


class Best(BaseModel):
    """A metric's value where the monitored one was best."""

    value: float
    epoch: int


class Metrics(BaseModel):
    """The figures of the last validation, and those of the epoch in which the monitored metric was best."""

    last: dict[str, float] = Field(default_factory=dict)
    best: dict[str, Best] = Field(default_factory=dict)


class Failure(BaseModel):
    """Why a run did not end well; the traceback of a killed one is that of whoever noticed."""

    kind: str
    message: str
    traceback: str | None


class RunRecord(BaseModel):
    """One run. Times are ISO 8601, UTC; `seconds` and memory are those of the job, resumed parts added up.

    `monitor` is the first of `objectives`; `objective` their values, one or a list. `swept` are a sweep's own
    values of this job. `checkpoint` is the best one, or the last; relative to the folder in the file, whole in
    what `read` gives.
    """

    model_config = ConfigDict(extra="ignore")

    status: Status
    experiment: str | None
    name: str
    overrides: list[str]
    swept: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any]
    command: list[str]
    facesmith: str
    python: str
    packages: dict[str, str]
    git_commit: str | None
    host: str
    pid: int
    started: str
    finished: str | None = None
    seconds: float = 0.0
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None
    epochs: int = 0
    steps: int = 0
    monitor: Monitor | None = None
    objectives: list[Monitor] = Field(default_factory=list)
    objective: float | list[float] | None = None
    metrics: Metrics = Field(default_factory=Metrics)
    checkpoint: str | None = None
    wandb_id: str | None = None
    error: Failure | None = None
    resumed: list[str] = Field(default_factory=list)


class Recorder:
    """Keeps one run's record up to date; every change is on disk at once. Where `writes` is false, nothing is."""

    def __init__(self, folder: Path, record: RunRecord, writes: bool) -> None:
        self.folder, self.record, self._writes = folder, record, writes
        self._memory = PeakMemory()
        self._began, self._before = time.monotonic(), record.seconds

    def note(self, **changes: Any) -> None:
        """Set fields of the record."""
        self.record = self.record.model_copy(update=changes)
        self._write()

    def starts_over(self) -> None:
        """Forget the figures of an earlier start in this folder: nothing of it is used."""
        self.note(epochs=0, steps=0, metrics=Metrics())

    def reached(self, epochs: int, steps: int, metrics: Mapping[str, float], validated: int | None) -> None:
        """Take the figures after `epochs` whole ones and `steps` optimiser steps.

        `validated` is the epoch, counted from 0, that was validated just now; None: none was.
        """
        monitor, best = self.record.monitor, self.record.metrics.best
        last = {name: float(value) for name, value in metrics.items()}
        if validated is not None and monitor and monitor.name in last:
            old = best.get(monitor.name)
            sign = 1 if monitor.mode == "min" else -1
            if old is None or sign * last[monitor.name] < sign * old.value:
                best = {name: Best(value=value, epoch=validated) for name, value in last.items()}
        self.note(epochs=epochs, steps=steps, metrics=Metrics(last=last, best=best))

    def completed(self, objective: float | Sequence[float] | None, checkpoint: Path | None) -> None:
        """Take what the run gives a sweep, and the checkpoint to use."""
        inside = checkpoint is not None and checkpoint.resolve().is_relative_to(self.folder.resolve())
        place = checkpoint.resolve().relative_to(self.folder.resolve()) if checkpoint and inside else checkpoint
        values = objective if objective is None or isinstance(objective, float | int) else list(objective)
        self.note(objective=values, checkpoint=None if place is None else str(place))

    def close(self, status: Status, error: BaseException | None) -> None:
        """Write how the run ended."""
        self.note(status=status, error=None if error is None else failure(error), finished=_now())

    def _write(self) -> None:
        if not self._writes:
            return
        memory, gpu_memory = self._memory.megabytes()
        seconds = round(self._before + time.monotonic() - self._began, 2)
        update = {"seconds": seconds, "peak_memory_mb": memory, "peak_gpu_memory_mb": gpu_memory}
        self.record = self.record.model_copy(update=update)
        _save(self.folder, self.record)


@contextmanager
def recording(
    folder: Path,
    *,
    experiment: str | None,
    name: str,
    settings: Mapping[str, Any],
    objectives: Sequence[Monitor] = (),
    swept: Mapping[str, Any] | None = None,
    overrides: Sequence[str] | None = None,
    writes: bool = True,
) -> Iterator[Recorder]:
    """Record a run from its start to its end, however it ends; exceptions pass through.

    A run that goes on in its folder keeps its start, its best figures and its time, and notes when it went on.

    Args:
        settings: the validated ones, as plain values.
        objectives: what the run is judged by, the first one first.
        swept: a sweep's own values of this job.
        overrides: what the run was told; None: what Hydra says it was.
        writes: false in all but the first process of a distributed run.
    """
    earlier = _earlier(folder)
    record = RunRecord(
        status="running",
        experiment=experiment,
        name=name,
        overrides=_told(overrides),
        swept=dict(swept or {}),
        settings=dict(settings),
        command=list(sys.argv),
        facesmith=facesmith.__version__,
        python=sys.version.split()[0],
        packages=_packages(),
        git_commit=_git_commit(),
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
    recorder.note()
    try:
        yield recorder
    except BaseException as error:
        recorder.close(_status(error), error)
        raise
    recorder.close("completed", None)


def read(folder: Path) -> RunRecord:
    """Read a run's record. One that says running while its process is gone was killed.

    Raises:
        UserError: there is no record, or it is none.
    """
    path = folder / FILE
    try:
        record = RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the folder of a run") from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(f"{path}: not a record of a run ({str(error).splitlines()[0]})") from None
    update: dict[str, Any] = {"settings": upgrade(record.settings)}
    if record.status == "running" and record.host == socket.gethostname() and not _alive(record):
        update["status"] = "killed"
    if record.checkpoint is not None:
        update["checkpoint"] = str(folder / record.checkpoint)
    return record.model_copy(update=update)


def close_killed(folder: Path, message: str, trace: str | None) -> None:
    """Write into the record of a run whose process is gone that it was killed, and what is known of it.

    `trace` is of whoever noticed: the run itself could not say.
    """
    record = RunRecord.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    error = Failure(kind="Killed", message=message, traceback=trace)
    _save(folder, record.model_copy(update={"status": "killed", "error": error, "finished": _now()}))


def failure(error: BaseException) -> Failure:
    """Describe an exception."""
    text = "".join(traceback.format_exception(error))
    return Failure(kind=type(error).__name__, message=" ".join(str(error).split()), traceback=text)


def _status(error: BaseException) -> Status:
    if isinstance(error, PrunedError):
        return "pruned"
    return "failed" if isinstance(error, Exception) else "interrupted"


def _save(folder: Path, record: RunRecord) -> None:
    write_text(folder / FILE, json.dumps(record.model_dump(mode="json"), indent=2))


def _earlier(folder: Path) -> RunRecord | None:
    try:
        return read(folder)
    except UserError:
        return None


def _alive(record: RunRecord) -> bool:
    """Say whether the record's process lives; another process may have its number by now."""
    try:
        began = psutil.Process(record.pid).create_time()
    except psutil.NoSuchProcess:
        return False
    latest = datetime.fromisoformat(record.resumed[-1] if record.resumed else record.started).timestamp()
    return began <= latest + 2  # seconds; the record's time is rounded down


def _told(overrides: Sequence[str] | None) -> list[str]:
    """Return what the run was told, but how it went on and where its sweep put it."""
    if overrides is None:
        overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return [str(one) for one in overrides if not re.match(r"\+*resume=|hydra\.", str(one))]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


@functools.cache
def _git_commit() -> str | None:
    """Return the commit of the project's checkout, `+` marking uncommitted changes; None outside of one."""
    here = Path(facesmith.__file__).parent
    describe = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
