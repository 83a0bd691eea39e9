"""Where a sweep lies, so that the same command finds it again."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from facesmith.errors import UserError
from facesmith.files import write_text

FILE: Final = "sweep.json"
LOCK: Final = ".sweep.lock"


def fingerprint(description: Mapping[str, Any]) -> str:
    """Give a hash of what makes two sweeps the same."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choose(proposed: Path, mark: str, resume: bool) -> Path:
    """Give the newest folder beside `proposed` that holds the sweep of this fingerprint, or else `proposed` itself.

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


def describe(folder: Path, mark: str, description: Mapping[str, Any]) -> None:
    """Write what the sweep is, for people and for `facesmith.sweep`."""
    text = {"fingerprint": mark, "command": sys.argv, **description}
    write_text(folder / FILE, json.dumps(text, indent=2, default=str))


@contextmanager
def owning(folder: Path) -> Iterator[None]:
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
