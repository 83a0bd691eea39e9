"""Tensors that frozen networks computed, kept on disk: the networks need not be in memory while training.

Every entry is one safetensors file named by everything that decides its content; it is written whole or not at all, so
that an interrupted run computes only what is missing, and another run with the same media computes nothing.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facesmith.files import atomic_write

log = logging.getLogger(__name__)

VERSION: Final = 1


class Cache:
    """Entries of tensors, found by what they were computed from.

    Args:
        folder: Where the files lie; shared by all runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, **made_of: Any) -> Path:
        """Return where an entry lies, or will lie.

        Args:
            kind: Folder of the entry: clips, texts, ...
            **made_of: JSON-serialisable values that decide the content. Their names are part of the file's name:
                renaming one means that users' entries are computed again.
        """
        text = json.dumps({"version": VERSION, **made_of}, sort_keys=True)
        return self.folder / kind / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def write(self, path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
        """Write an entry.

        Args:
            path: From `path`.
            tensors: The content.
            about: Metadata for a human reader.
        """
        whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        with atomic_write(path) as temporary:
            save_file(whole, temporary, metadata=dict(about or {}))

    def has(self, path: Path) -> bool:
        """Return whether an entry is there and whole; a damaged one is removed with a warning."""
        if not path.exists():
            return False
        try:
            load_file(path)
        except (SafetensorError, OSError) as error:
            log.warning("%s is damaged (%s): it is computed again", path, error)
            path.unlink()
            return False
        return True

    def missing(self, paths: Sequence[Path]) -> list[int]:
        """Return the positions of the entries that are still to be computed."""
        return [number for number, path in enumerate(paths) if not self.has(path)]

    def read(self, path: Path) -> dict[str, Tensor]:
        """Read an entry, onto the CPU."""
        return load_file(path)
