"""Writing and reading of verified checkpoints."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from typing_extensions import override

from facesmith.errors import UserError
from facesmith.files import atomic_write
from facesmith.training.lightning_internals import CheckpointPath
from facesmith.training.run.checkpoint_files import LAST_CHECKPOINT, PREVIOUS_CHECKPOINT, find_damage


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Write checkpoints atomically and verify every byte when one is loaded.

    A checkpoint is written beside its target, flushed to the disk and renamed. Lightning stages it in $TMPDIR: on
    another filesystem its rename is a copy, and a process killed in it leaves a damaged file. The `last.ckpt` that is
    replaced stays as `previous.ckpt`.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: CheckpointPath, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        with atomic_write(path, needs=_count_bytes(checkpoint)) as temporary:
            torch.save(checkpoint, temporary)
            if path.name == LAST_CHECKPOINT:
                _keep_previous(path)

    @override
    def load_checkpoint(self, path: CheckpointPath, map_location: Any = None, weights_only: bool | None = True) -> Any:
        """Load a checkpoint onto the CPU or `map_location`.

        Raises:
            UserError: The file is missing, cut off or damaged.
        """
        problem = find_damage(Path(path))
        if problem is not None:
            raise UserError(f"{path}: {problem}; give another checkpoint of the run")
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    @override
    def remove_checkpoint(self, path: CheckpointPath) -> None:
        # an untrusted checkpoint may name a file to remove; Lightning takes a/../b for a file of a
        place = Path(path)
        if place.suffix == ".ckpt" and ".." not in place.parts:
            place.unlink(missing_ok=True)


def _keep_previous(path: Path) -> None:
    """Link the file at `path` as `previous.ckpt`; rename it where the filesystem has no hard links."""
    previous, link = path.with_name(PREVIOUS_CHECKPOINT), path.with_name(f".{PREVIOUS_CHECKPOINT}.link")
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


def _count_bytes(value: object) -> int:
    """Return the bytes of all tensors in a nested structure."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_count_bytes, value)) if isinstance(value, list | tuple) else 0
