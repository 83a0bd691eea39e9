"""Locks: one run of a name at a time, one process tree in a run's folder."""

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

from filelock import FileLock, Timeout

from facesmith.errors import UserError
from facesmith.training.run.log import get_rank

log = logging.getLogger(__name__)

NAME_LOCK: Final = ".lock"
FOLDER_LOCK: Final = ".hydra/lock"
_ORPHAN_SECONDS = 15.0  # workers of a killed process notice within five and hold the locks they inherited
_POLL_SECONDS = 0.2


@contextmanager
def lock_run(run: Path, *, name: Path | None, busy: Literal["refuse", "wait"]) -> Iterator[None]:
    """Lock a run's folder and its name.

    The operating system releases the locks when a process ends, however it does. In a distributed run the first
    process holds them for all.

    Args:
        run: The run's folder.
        name: Folder of all runs of its name; None where several may share a name, as jobs of a sweep do.
        busy: Whether to refuse or to wait when another process holds a lock.

    Raises:
        UserError: Another process holds one of them, and `busy` is `refuse`.
    """
    if get_rank():
        yield
        return
    outer = nullcontext() if name is None else _locked(name / NAME_LOCK, run, busy)
    with outer, _locked(run / FOLDER_LOCK, run, busy):
        yield


@contextmanager
def _locked(place: Path, run: Path, busy: Literal["refuse", "wait"]) -> Iterator[None]:
    place.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(place), place.with_suffix(".json")
    began, reported = time.monotonic(), False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            who, gone = _read_holder(holder)
            waited = time.monotonic() - began
            if busy == "refuse" and not (gone and waited < _ORPHAN_SECONDS):
                raise UserError(
                    f"name={run.parent.name}: a run of this name is running already ({who}); wait for it, choose "
                    "another name, or let this one wait with busy=wait"
                ) from None
            if not reported and not gone:
                log.info("%s is running already (%s); waiting for it", run.parent.name, who)
                reported = True
            time.sleep(_POLL_SECONDS)
    try:
        about = {"run": str(run), "pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        holder.write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read_holder(path: Path) -> tuple[str, bool]:
    """Return who holds a lock, and whether that process is gone from this host."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        who = f"{about['run']}, process {about['pid']} on {about['host']}, since {about['since']}"
        import psutil  # a tenth of a second, and only where somebody holds the lock

        return who, about["host"] == socket.gethostname() and not psutil.pid_exists(about["pid"])
    except (OSError, ValueError, KeyError):
        return "its process is not known yet", False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
