"""The folder of a sweep, so that the same command finds it again."""

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

SWEEP_FILE: Final = "sweep.json"
LOCK: Final = ".sweep.lock"


def compute_fingerprint(description: Mapping[str, Any]) -> str:
    """Return a hash of what makes two sweeps the same.

    Args:
        description: What JSON can hold.
    """
    return hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choose_folder(proposed: Path, fingerprint: str, resume: bool) -> Path:
    """Return the folder of a sweep: one that holds it already, or a new one.

    Args:
        proposed: The new folder; its siblings are searched.
        fingerprint: Of the sweep.
        resume: Whether to resume a sweep of this fingerprint.

    Returns:
        The newest folder beside `proposed` that holds the sweep, or else `proposed` itself.

    Raises:
        UserError: `proposed` holds another sweep, or one that is not to be resumed.
    """
    if (proposed / SWEEP_FILE).is_file():
        if _read_fingerprint(proposed) != fingerprint:
            raise UserError(f"{proposed}: holds another sweep; choose another hydra.sweep.dir")
        if not resume:
            raise UserError(f"{proposed}: holds this sweep already; choose another hydra.sweep.dir to start anew")
        return proposed
    found = sorted(path.parent for path in proposed.parent.glob(f"*/{SWEEP_FILE}")) if resume else []
    return next((folder for folder in reversed(found) if _read_fingerprint(folder) == fingerprint), proposed)


def write_description(folder: Path, fingerprint: str, description: Mapping[str, Any]) -> None:
    """Write `sweep.json`: what the sweep is, for people and to find it again.

    Args:
        folder: Of the sweep.
        fingerprint: Of the sweep.
        description: What was hashed for it, and more.
    """
    text = {"fingerprint": fingerprint, "command": sys.argv, **description}
    write_text(folder / SWEEP_FILE, json.dumps(text, indent=2, default=str))


@contextmanager
def lock_sweep(folder: Path) -> Iterator[None]:
    """Lock the sweep against a second process with the same command.

    Args:
        folder: Of the sweep.

    Raises:
        UserError: Another process runs it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"{folder}: this sweep is already running; wait for it, or start another: hydra.sweeper.resume=false"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _read_fingerprint(folder: Path) -> str | None:
    try:
        found = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    fingerprint = found.get("fingerprint") if isinstance(found, dict) else None
    return fingerprint if isinstance(fingerprint, str) else None
