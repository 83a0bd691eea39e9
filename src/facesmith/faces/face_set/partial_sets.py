"""Sets in the making: one process at a time, a folder that no reader sees, and the end of abandoned ones."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import filelock

from facesmith.private import FILE

log = logging.getLogger(__name__)

STALE_SECONDS: Final = 2 * 24 * 3600.0
"""An unfinished set whose media or settings have changed is kept this long: they may change back."""


def partial_of(final: Path) -> Path:
    """Give the folder in which a set is made; it becomes `final` by one rename."""
    return final.with_name(f"{final.name}.partial")


@contextmanager
def making(final: Path) -> Iterator[None]:
    """Hold the lock of something that is made once; when another process has it, say so and wait."""
    lock = filelock.FileLock(final.with_name(f"{final.name}.lock"), mode=FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.warning("another process is making %s; waiting for it, its result will be used", final)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path, keep: Path) -> None:
    """Remove unfinished sets in `folder` that nobody works on and nobody has touched for STALE_SECONDS."""
    for partial in folder.glob("*.partial"):
        if partial == partial_of(keep):
            continue
        touched = max((p.stat().st_mtime for p in partial.rglob("*")), default=partial.stat().st_mtime)
        if time.time() - touched < STALE_SECONDS:
            continue
        lock = filelock.FileLock(partial.with_name(f"{partial.name.removesuffix('.partial')}.lock"))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            continue
        try:
            shutil.rmtree(partial)
            log.info("removed the abandoned unfinished face set %s", partial)
        finally:
            lock.release()
