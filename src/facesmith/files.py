"""Files that are either whole or absent, and readable by their owner only where they hold a face."""

import codecs
import hashlib
import json
import logging
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import filelock

from facesmith.errors import (
    DiskFullError,
    MediaError,
    UserError,
    comes_from_full_disk,
    escape_controls,
    format_bytes,
    free_bytes,
    is_disk_full,
    is_write_failure,
)

PARTIAL: Final = ".partial"
"""Ends the names of folders in which something is made."""
FOLDER: Final = 0o700
FILE: Final = 0o600
_NAME_MAX: Final = 255  # bytes, where a system does not tell
_LITTLE: Final = 1e6  # bytes; a disk with less is full

log = logging.getLogger(__name__)


@contextmanager
def atomic_write(path: Path, needs: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same suffix; on leaving it takes the place of `path`.

    Parents are created. The file is its owner's alone, at no moment anyone else's: nearly all that is written holds or
    shows a face. The temporary name does not grow with that of `path`, which may be as long as names can be. On an
    exception the temporary file is removed and `path` stays as it was.

    Args:
        path: The file.
        needs: Bytes that are going to be written, for the message when there is no room.

    Raises:
        UserError: the folder cannot be made or written.
        DiskFullError: there is no room.
    """
    # The longest names leave no room for more.
    temporary = path.with_name(f".{path.stem[:24]}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(FILE)
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
    except (OSError, RuntimeError, UserError) as error:
        full = comes_from_full_disk(error) or (is_write_failure(error) and free_bytes(path) < _LITTLE)
        if temporary.exists():
            os.truncate(temporary, 0)  # who failed to write may still hold the file, and with it the room
        if full:
            raise DiskFullError(path, needs, free_bytes(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def name_full_disk(folder: Path) -> Iterator[None]:
    """Name the folder that is written into where the system says no more than that a disk is full.

    Args:
        folder: The folder.

    Raises:
        DiskFullError: There is no room.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if comes_from_full_disk(error):
            raise DiskFullError(folder, None, free_bytes(folder)) from error
        raise


def _flush_names(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets folders be flushed."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_writable(folder: Path, setting: str, room: int = 0) -> None:
    """Make sure, before the work, that files can be written into a folder, by writing one and removing it again.

    Args:
        folder: It, or the nearest one above it that exists, is tried.
        setting: Key that names it, for the message.
        room: Bytes that must be free.

    Raises:
        UserError: It cannot be written, or there is less room.
    """
    absolute = folder.absolute()
    try:
        there = next(above for above in (absolute, *absolute.parents) if above.exists())
    except OSError as error:
        raise UserError(f"{setting}={escape_controls(folder)}: cannot be a path ({error.strerror})") from None
    if not there.is_dir():
        raise UserError(f"{setting}={folder}: {there} is a file; choose another folder")
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".facesmith-"):
            pass
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        what = what if there == absolute else f"{there} {what}"
        raise UserError(f"{setting}={folder}: {what}; choose another folder") from None
    free = free_bytes(there)
    if free < room:
        raise UserError(
            f"{setting}={folder}: {format_bytes(free)} free, {format_bytes(room)} needed; "
            "make room, or choose another folder"
        )


def require_regular(path: Path) -> None:
    """Make sure that a path is a file that can be read to its end: a pipe or a device would be waited for.

    Args:
        path: The file; a link to one will do.

    Raises:
        MediaError: it is missing, or something else.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: cannot be read ({reason}); check path and permissions") from None
    if not stat.S_ISREG(mode):
        raise MediaError(f"{path}: cannot be read (is {describe_kind(mode)}); give a file")


def describe_kind(mode: int) -> str:
    """Name what is no regular file, by its mode."""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_user_text(path: Path) -> str:
    """Read a text that somebody wrote in any editor: UTF-8 with or without mark, UTF-16, or Windows' own.

    Args:
        path: The file.

    Raises:
        UserError: it cannot be read, or holds no text.
    """
    require_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
        log.warning("%s: is not UTF-8; it was read as Windows text (cp1252), save it as UTF-8", path)
    if "\0" in text:
        raise UserError(f"{path}: is no text; save it as UTF-8")
    return text


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that this program wrote; one that is missing, half written or something else is empty."""
    try:
        require_regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UserError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, hex: what marks hold of a model.

    Args:
        path: Of the file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from None


def write_text(path: Path, text: str) -> None:
    """Write text (UTF-8, as it is) atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def make_private_folder(path: Path) -> None:
    """Create a folder, or restrict an existing one, so that only its owner may enter it; parents are created as usual.

    A folder of somebody else stays as it is, with a warning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER, exist_ok=True)
    _restrict(path, FOLDER)


def make_private(tree: Path) -> None:
    """Restrict a folder and everything in it to its owner."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            _restrict(path, FOLDER if path.is_dir() else FILE)


def write_private_text(path: Path, text: str) -> None:
    """Write text (UTF-8) atomically, at no moment readable by anyone but its owner; a new folder is private too."""
    if not path.parent.exists():
        make_private_folder(path.parent)
    with atomic_write(path) as temporary:
        temporary.chmod(FILE)
        temporary.write_text(text, encoding="utf-8", newline="")


def _restrict(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 == mode:
        return
    try:
        path.chmod(mode)
    except PermissionError:
        log.warning("%s: belongs to somebody else, who must keep it private (chmod %o)", path, mode)


def short_path(path: Path) -> str:
    """Return a path as one would type it here: relative to the working folder where it lies below it.

    Args:
        path: Absolute or relative.
    """
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)


def partial_folder(final: Path) -> Path:
    """Return the folder beside `final` in which something is made; it becomes `final` by one rename."""
    return final.with_name(_fitting(f"{final.name}{PARTIAL}", final.parent))


def longest_name(folder: Path) -> int:
    """Return how many bytes the name of a file in a folder may have; the folder need not exist."""
    there = next((above for above in (folder, *folder.absolute().parents) if above.exists()), Path("/"))
    try:
        return os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _NAME_MAX


def _fitting(name: str, folder: Path) -> str:
    """Return a name, or where it is too long one that stands for it and has the same ending."""
    if len(os.fsencode(name)) <= longest_name(folder):
        return name
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:24]}{Path(name).suffix}"


@contextmanager
def hold_lock(final: Path) -> Iterator[None]:
    """Acquire the lock of a file or folder that only one process should create.

    When another process has it, this is logged, and this one waits.

    Args:
        final: What is made; its lock lies beside it.
    """
    lock = filelock.FileLock(final.with_name(_fitting(f"{final.name}.lock", final.parent)), mode=FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.warning("another process is making %s; waiting for its result", final)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
