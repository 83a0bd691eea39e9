"""What was measured so far, a line a pair, so that a stopped evaluation goes on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TextIO

from pydantic import TypeAdapter, ValidationError

from facesmith.files import FILE, make_private
from facesmith.tasks.evaluate.measuring import PairResult

_RESULT = TypeAdapter(PairResult)


class Journal:
    """Results of pairs on disk, by key.

    A line is flushed when it is written; one that a kill has cut off is not read.

    Args:
        path: The file.
        settings: Hash of all that decides the results; a file of other settings is begun anew.
        resume: False begins anew in any case.
    """

    def __init__(self, path: Path, settings: str, *, resume: bool) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        known = resume and path.exists() and self._index(settings)
        path.touch(FILE)
        make_private(path)  # an earlier version's was readable by all
        self._file: TextIO = path.open("a" if known else "w", encoding="utf-8", newline="")
        if not known:
            self._offsets.clear()
            self._write({"settings": settings})

    def __contains__(self, key: str) -> bool:
        return key in self._offsets

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, key: str, result: PairResult) -> None:
        """Add the result of a pair."""
        offset = self._file.tell()
        self._write({"key": key, "result": _RESULT.dump_python(result, mode="json")})
        self._offsets[key] = offset

    def read(self, keys: list[str]) -> Iterator[PairResult]:
        """Yield the results of pairs, one at a time, in the order of the keys."""
        with self._path.open("rb") as file:
            for key in keys:
                file.seek(self._offsets[key])
                yield _RESULT.validate_python(json.loads(file.readline())["result"])

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _index(self, settings: str) -> bool:
        """Find where each result begins; False where the file is of other settings. What is cut off is removed."""
        with self._path.open("rb+") as file:
            whole = 0
            for number, line in enumerate(iter(file.readline, b"")):
                try:
                    content = json.loads(line)
                    if number == 0 and content["settings"] != settings:
                        return False
                    if number:
                        _RESULT.validate_python(content["result"])
                        self._offsets[str(content["key"])] = whole
                except (ValueError, KeyError, TypeError, ValidationError):
                    if number == 0:
                        return False
                    break
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
            file.truncate(whole)
        return whole > 0
