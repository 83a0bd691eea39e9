"""Remove traces of a person, with their locks held and a record written."""

import contextlib
import hashlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

import facesmith
from facesmith.errors import UserError
from facesmith.files import file_sha256, write_text
from facesmith.training.run.record import read_record

Kind = Literal[
    "face set", "run", "profile", "model", "adapter", "cache", "evaluation", "W&B record", "picture or video"
]

RECORD: Final = "run.json"
_MODELS: Final = (".onnx", ".dfm", ".ckpt", ".safetensors")
_LOCKS: Final = ("*.lock", ".hydra/lock", ".lock", ".sweep.lock")


@dataclass(frozen=True)
class Trace:
    """One thing on disk that holds a person's face or was learnt from it."""

    kind: Kind
    files: tuple[Path, ...]
    """Files and folders, as they are named; links are links."""
    why: str
    """Why it counts, in words."""
    shared_with: str = ""
    """The other name that it goes by: it is linked to this one by the same pictures only, and asked about by itself."""

    def contents(self) -> Iterator[Path]:
        """Return every file in it; links to files elsewhere are not followed, a link that was named itself is."""
        for path in self.files:
            if path.is_dir():
                yield from sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
            elif path.is_file():
                yield path


@contextlib.contextmanager
def lock_traces(traces: Sequence[Trace]) -> Iterator[None]:
    """Acquire the locks of everything that is to be removed.

    Args:
        traces: What is to be removed.

    Raises:
        UserError: A run or an extraction is at work on it.
    """
    with ExitStack() as held:
        for folder in (path for trace in traces for path in trace.files if path.is_dir()):
            for record in folder.rglob(RECORD):
                _require_ended(record.parent)
            for lock in sorted({found for pattern in _LOCKS for found in folder.rglob(pattern) if found.is_file()}):
                try:
                    held.enter_context(FileLock(lock, timeout=0))
                except Timeout:
                    raise _busy(lock.parent) from None
        yield


def deletion_record(name: str, traces: Sequence[Trace], advance: Callable[[int], None]) -> dict[str, Any]:
    """Return the deletion record: what is removed, how much, hashes; nothing of a face.

    Args:
        name: The identity.
        traces: What is to be removed; it is read for the hashes.
        advance: Called with the number of bytes hashed, for a progress bar.
    """
    return {
        "identity": name,
        "started": _now(),
        "finished": None,
        "facesmith": facesmith.__version__,
        "items": [_describe(trace, advance) for trace in traces],
    }


def remove(traces: Sequence[Trace], roots: Sequence[Path]) -> None:
    """Remove files, folders and links, then the folders above that this empties.

    Args:
        traces: What to remove.
        roots: Folders that stay, also when they are empty.

    Raises:
        UserError: Something cannot be removed; what was removed before stays removed.
    """
    for trace in traces:
        for path in trace.files:
            try:
                if path.is_symlink() or path.is_file():
                    path.unlink()
                elif path.is_dir():
                    shutil.rmtree(path)
            except OSError as error:
                raise UserError(
                    f"{path}: cannot be removed ({error.strerror}); fix its permissions and purge again"
                ) from error
            _remove_emptied(path.parent, roots)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a deletion record as JSON."""
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def finish_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with the time at which the removal was complete."""
    return {**record, "finished": _now()}


def _describe(trace: Trace, advance: Callable[[int], None]) -> dict[str, Any]:
    whole, count, size = hashlib.sha256(), 0, 0
    models: dict[str, str] = {}
    base = trace.files[0]
    for path in trace.contents():
        digest = file_sha256(path)
        place = str(path.relative_to(base)) if path.is_relative_to(base) and path != base else path.name
        whole.update(f"{place}\0{digest}\n".encode())
        count += 1
        size += path.stat().st_size
        advance(path.stat().st_size)
        if path.suffix in _MODELS:
            models[place] = digest
    return {
        "kind": trace.kind,
        "paths": [str(path.absolute()) for path in trace.files],
        "why": trace.why,
        "files": count,
        "bytes": size,
        "sha256": whole.hexdigest(),
        "models": models,
    }


def _remove_emptied(folder: Path, roots: Sequence[Path]) -> None:
    """Remove folders that hold nothing but locks, below the roots."""
    tops = {root.resolve() for root in roots}
    while folder.resolve() not in tops and any(folder.resolve().is_relative_to(top) for top in tops):
        left = [one for one in folder.iterdir() if one.exists()] if folder.is_dir() else []  # no links to what is gone
        if not folder.is_dir() or any(one.suffix != ".lock" and one.name != ".lock" for one in left):
            return
        shutil.rmtree(folder)
        folder = folder.parent


def _require_ended(folder: Path) -> None:
    try:
        record = read_record(folder)
    except UserError:
        return  # an unreadable record does not prevent the removal of the run
    if record.status != "running":
        return
    if record.host == socket.gethostname():
        raise _busy(folder)
    raise UserError(
        f"{folder}: is recorded as running on {record.host}; wait for it, or remove its {RECORD} if that is not so"
    )


def _busy(folder: Path) -> UserError:
    return UserError(f"{folder}: is in use by a run or an extraction; wait for it or stop it, then purge again")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; one that is missing or broken is empty."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
