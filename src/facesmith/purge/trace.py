"""One thing on disk that holds a person's face, or was learnt from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["face set", "run", "profile", "model", "adapter", "cache", "W&B record", "picture or video"]


@dataclass(frozen=True)
class Trace:
    """What is there, and why it counts. files: files and folders, as they are named; links are links."""

    kind: Kind
    files: tuple[Path, ...]
    why: str

    def contents(self) -> Iterator[Path]:
        """Give every file in it; links to files elsewhere are not followed, a link that was named itself is."""
        for path in self.files:
            if path.is_dir():
                yield from sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
            elif path.is_file():
                yield path
