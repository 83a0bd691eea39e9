"""Which checkpoints of a run are whole; needs no torch."""

import logging
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"

_STALE = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\.[^.]+)?")
_PICKLE = "data.pkl"
_RESUMABLE = b"optimizer_states"


class Found(NamedTuple):
    """The checkpoint to go on from, None when no one is good, and what was found wrong with newer ones."""

    path: Path | None
    rejected: list[str]


def newest_good(run: Path) -> Found:
    """Find a run's newest checkpoint that is whole and holds all a training needs."""
    rejected: list[str] = []
    for path in sorted(_checkpoints(run), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        problem = damage(path)
        if problem is None and resumable(path):
            return Found(path, rejected)
        if problem is not None:
            rejected.append(f"{path}: {problem}")
    return Found(None, rejected)


def damage(path: Path) -> str | None:
    """Say what is wrong with a checkpoint file, None when every byte of its contents is as it was written.

    torch stores a CRC-32 of every tensor but does not look at it when it loads; this does.
    """
    try:
        stat = path.stat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return _damage(path, stat.st_ctime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _damage(path: Path, _changed: int, size: int) -> str | None:
    if not size:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            spoilt = archive.testzip()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError):
        return "is cut off or damaged"
    return None if spoilt is None else f"is damaged (the checksum of {spoilt} is wrong)"


def resumable(path: Path) -> bool:
    """Tell a whole training's checkpoint from one of weights alone."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == _PICKLE]
        return any(_RESUMABLE in archive.read(name) for name in pickles)


def sweep_stale(run: Path) -> None:
    """Remove temporary files that killed processes left; the caller holds the run's lock."""
    for path in run.rglob(".*"):
        if path.is_file() and _STALE.fullmatch(path.name):
            log.info("%s: left by a killed process, removed", path)
            path.unlink()


def _checkpoints(run: Path) -> Iterator[Path]:
    return (run / FOLDER).glob("[!.]*.ckpt")
