"""How checkpoints reach the disk and come back."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from typing_extensions import override

from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.training.run.checkpoint_files import LAST, PREVIOUS, damage


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Write checkpoints beside their place, flush them to the disk, rename; check every byte when one is loaded.

    Lightning stages them in $TMPDIR: on another filesystem its rename is a copy, and a process killed in it leaves a
    damaged file. The `last.ckpt` that is replaced stays as `previous.ckpt`.
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        path = Path(path)
        with atomic_write(path, needs=_bytes(checkpoint)) as temporary:
            torch.save(checkpoint, temporary)
            if path.name == LAST:
                _keep(path)

    @override
    def load_checkpoint(self, path: _PATH, map_location: Any = None, weights_only: bool | None = True) -> Any:
        problem = damage(Path(path))
        if problem is not None:
            raise UserError(f"{path}: {problem}; give another checkpoint of the run")
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    @override
    def remove_checkpoint(self, path: _PATH) -> None:
        if Path(path).suffix == ".ckpt":  # which to remove, a checkpoint of somebody else may say
            Path(path).unlink(missing_ok=True)


def _keep(path: Path) -> None:
    """Return the file at `path` a second name, or the only one where a filesystem has no links."""
    previous, link = path.with_name(PREVIOUS), path.with_name(f".{PREVIOUS}.link")
    with suppress(FileNotFoundError):
        link.unlink(missing_ok=True)
        try:
            os.link(path, link)
        except FileNotFoundError:
            raise
        except OSError:
            path.replace(previous)
        else:
            link.replace(previous)


def _bytes(value: Any) -> int:
    """Count the bytes of all tensors."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
