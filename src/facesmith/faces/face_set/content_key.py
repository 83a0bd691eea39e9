"""The key of an extraction: a hash of media contents, analyzer and settings."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facesmith.files import write_private_text

log = logging.getLogger(__name__)


class ContentHashes:
    """The sha256 of files, remembered by path, size and time of change in a JSON file.

    Hashing a video takes seconds; asking again whether it is the same one must not. The memory is only a shortcut: when
    its file cannot be read, a new one is started with a warning.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if memory.exists():
            try:
                known = json.loads(memory.read_text(encoding="utf-8"))
                self._known = {name: row for name, row in known.items() if len(row) == 3}
            except (OSError, ValueError, TypeError, AttributeError, RecursionError):
                log.warning("%s is damaged; the media are hashed again", memory)

    def sha256(self, path: Path) -> str:
        """Return the sha256 of a file's bytes, hex; OSError when it cannot be read."""
        stat = path.stat()
        name, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(name)
        if known is None or known[:2] != stamp:
            with path.open("rb") as file:
                known = [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            self._known[name] = known
            self._changed = True
        return str(known[2])

    def save(self) -> None:
        """Remember what was hashed."""
        if self._changed:
            write_private_text(self._memory, json.dumps(self._known, indent=0))
            self._changed = False


def compute_face_set_key(
    contents: Sequence[str], fingerprint: str, settings: Mapping[str, Any], schema_version: int
) -> str:
    """Return the key of a face set, 64 hex digits.

    Args:
        contents: sha256 of each medium; their order, names and places do not matter.
        fingerprint: The analyzer's.
        settings: Everything else that decides the result, JSON-serialisable.
        schema_version: Of the face set's table.
    """
    identity = {
        "contents": sorted(contents),
        "analyzer": fingerprint,
        "settings": settings,
        "schema": schema_version,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
