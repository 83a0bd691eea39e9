"""Writing files that are either whole or absent."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facesmith.errors import UserError
from facesmith.failures import DiskFullError, free_bytes, is_disk_full, is_unsaid

_LITTLE = 1e6  # bytes; a disk with less is full


@contextmanager
def replacing(path: Path, needs: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`, with the same suffix; on leaving it takes the place of `path`.

    Parents are created. On an exception the temporary file is removed and `path` stays as it was. `needs` are the
    bytes that are going to be written, to be told when there is no room.

    Raises:
        UserError: the folder cannot be made or written.
        DiskFullError: there is no room.
    """
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(path, needs, free_bytes(path)) from error
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_names(path.parent)
    except (OSError, RuntimeError) as error:
        full = is_disk_full(error) or (is_unsaid(error) and free_bytes(path) < _LITTLE)
        if temporary.exists():
            os.truncate(temporary, 0)  # who failed to write may still hold the file, and with it the room
        if full:
            raise DiskFullError(path, needs, free_bytes(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush_names(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets folders be flushed."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write text (UTF-8, as it is) atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
