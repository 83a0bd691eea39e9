"""Find complete checkpoints of a run. Needs no torch."""

import logging
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"
PREVIOUS_CHECKPOINT = "previous.ckpt"
FINAL_CHECKPOINTS = (f"{CHECKPOINT_FOLDER}/{LAST_CHECKPOINT}", f"{CHECKPOINT_FOLDER}/best.ckpt")
"""Those of a completed run that commands are given, the usual one first."""

_STALE = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\.[^.]+)?")
_PICKLE = "data.pkl"
_OPTIMIZER = b"optimizer_states"


class FoundCheckpoint(NamedTuple):
    """The checkpoint to resume from."""

    path: Path | None
    """None when none is whole."""
    rejected: list[str]
    """A line for each newer one that is damaged."""


def find_newest_checkpoint(run: Path) -> FoundCheckpoint:
    """Find a run's newest checkpoint that is whole and holds all a training needs.

    Args:
        run: The run's folder.
    """
    rejected: list[str] = []
    for path in sorted(_checkpoints(run), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        problem = find_damage(path)
        if problem is None and is_resumable(path):
            return FoundCheckpoint(path, rejected)
        if problem is not None:
            rejected.append(f"{path}: {problem}")
    return FoundCheckpoint(None, rejected)


def first_made(run: Path, *files: str) -> str | None:
    """Return the first of some files of a run that was made: callbacks that make them may be taken out.

    Args:
        run: The run's folder.
        files: Their paths in it, the wanted one first.
    """
    return next((file for file in files if (run / file).exists()), None)


def find_damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint file; None when every byte of its contents is as it was written.

    torch stores a CRC-32 of every tensor but does not check it when it loads; this does.

    Args:
        path: Of the file.
    """
    try:
        stat = path.stat()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return _check_file(path, stat.st_ctime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _check_file(path: Path, _changed: int, size: int) -> str | None:
    if not size:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError):
        return "is cut off or damaged"
    return None if damaged is None else f"is damaged (the checksum of {damaged} is wrong)"


def is_resumable(path: Path) -> bool:
    """Return whether a checkpoint holds a training's whole state, not weights alone."""
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == _PICKLE]
        return any(_OPTIMIZER in archive.read(name) for name in pickles)


def remove_stale_files(run: Path) -> None:
    """Remove temporary files that killed processes left; the caller must hold the run's lock."""
    for path in run.rglob(".*"):
        if path.is_file() and _STALE.fullmatch(path.name):
            log.info("Removed %s, left by a killed process", path)
            path.unlink()


def _checkpoints(run: Path) -> Iterator[Path]:
    return (run / CHECKPOINT_FOLDER).glob("[!.]*.ckpt")
