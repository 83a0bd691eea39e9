"""What the frozen encoders say of clips, prompts and faces, kept on disk: they need not be in memory while training.

Every entry is one safetensors file named by everything that decides its content; it is written whole or not at all, so
that an interrupted run goes on with what is missing, and another run with the same media computes nothing.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facesmith.files import replacing

log = logging.getLogger(__name__)

VERSION: Final = 1
T = TypeVar("T")


class Cache:
    """Entries of tensors by what they were made of. folder: shared by all runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, **made_of: Any) -> Path:
        """Say where an entry lies, or will lie: `made_of` is JSON-serialisable and decides the content."""
        text = json.dumps({"version": VERSION, **made_of}, sort_keys=True)
        return self.folder / kind / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def write(self, path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
        """Write an entry; `about` says in words what it is."""
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with replacing(path) as temporary:
            save_file(whole, temporary, metadata=dict(about or {}))

    def has(self, path: Path) -> bool:
        """Say whether an entry is there and whole; a damaged one is removed and said."""
        if not path.exists():
            return False
        try:
            load_file(path)
        except (SafetensorError, OSError) as error:
            log.warning("%s is damaged (%s): it is made again", path, error)
            path.unlink()
            return False
        return True

    def read(self, path: Path) -> dict[str, Tensor]:
        """Read an entry."""
        return load_file(path)


def missing(cache: Cache, paths: Sequence[Path]) -> list[int]:
    """Give the numbers of the entries that are still to be made."""
    return [number for number, path in enumerate(paths) if not cache.has(path)]


def tracked(items: Sequence[T], title: str, shown: bool) -> Iterator[T]:
    """Give the items one by one under a bar with the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not shown or not items, transient=True) as bar:
        task = bar.add_task(title, total=len(items))
        for item in items:
            yield item
            bar.advance(task)


def encoded_video(codec: Any, frames: Any) -> Tensor:
    """Encode (T,H,W,3) RGB uint8 frames into latents (C,F,h,w) as the transformer sees them."""
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(codec.device, codec.dtype) / 127.5 - 1
    with torch.no_grad():
        latents: Tensor = codec.encode(video).latent_dist.mode()
    return normalised(codec, latents.float())[0]


def normalised(codec: Any, latents: Tensor) -> Tensor:
    """Bring (N,C,F,h,w) latents to the transformer's scale."""
    mean, spread = (
        torch.tensor(values, device=latents.device).view(1, -1, 1, 1, 1)
        for values in (codec.config.latents_mean, codec.config.latents_std)
    )
    return (latents - mean) / spread
