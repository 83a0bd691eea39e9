"""One run of a name at a time, one process tree in a run's folder."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import psutil  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from facesmith.errors import UserError
from facesmith.training.run.log import process_number

log = logging.getLogger(__name__)

NAME_LOCK: Final = ".lock"
FOLDER_LOCK: Final = ".hydra/lock"
_ORPHANS_END = 15.0  # seconds; workers of a killed process notice within five and hold what they inherited
_POLL = 0.2


@contextmanager
def held(run: Path, *, name: Path | None, busy: Literal["refuse", "wait"]) -> Iterator[None]:
    """Hold a run's folder, and its name: the folder `name` of all runs of that name. Jobs of a sweep share a name.

    The operating system gives the locks back when a process ends, however it does. In a distributed run the first
    process holds them for all.

    Raises:
        UserError: another process holds one of them, and `busy` is `refuse`.
    """
    if process_number():
        yield
        return
    outer = nullcontext() if name is None else _locked(name / NAME_LOCK, run, busy)
    with outer, _locked(run / FOLDER_LOCK, run, busy):
        yield


@contextmanager
def _locked(place: Path, run: Path, busy: Literal["refuse", "wait"]) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(place), place.with_suffix(".json")
    began, told = time.monotonic(), False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            who, gone = _holder(holder)
            waited = time.monotonic() - began
            if busy == "refuse" and not (gone and waited < _ORPHANS_END):
                raise UserError(
                    f"name={run.parent.name}: a run of this name is under way ({who}); wait for it, choose another "
                    "name, or let this one wait with busy=wait"
                ) from None
            if not told and not gone:
                log.info("%s is under way (%s); waiting for it", run.parent.name, who)
                told = True
            time.sleep(_POLL)
    try:
        about = {"run": str(run), "pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        holder.write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> tuple[str, bool]:
    """Say who holds a lock, and whether that process is gone from this host."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        who = f"{about['run']}, process {about['pid']} on {about['host']}, since {about['since']}"
        return who, about["host"] == socket.gethostname() and not psutil.pid_exists(about["pid"])
    except (OSError, ValueError, KeyError):
        return "which one is not known yet", False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
