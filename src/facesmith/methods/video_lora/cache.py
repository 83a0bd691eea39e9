"""What the frozen encoders say of clips, prompts and faces, kept on disk: they need not be in memory while training.

Every entry is one safetensors file named by everything that decides its content; it is written whole or not at all, so
that an interrupted run goes on with what is missing, and another run with the same media computes nothing.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
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

from facesmith.faces.face_set.content_key import ContentHashes
from facesmith.files import atomic_write
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.clips import Clip, read_clip
from facesmith.methods.video_lora.dataset import padded
from facesmith.methods.video_lora.evaluation import JudgesVideos
from facesmith.methods.video_lora.identities import ReadsFaces, References, restored
from facesmith.methods.video_lora.memory_check import tell_room
from facesmith.methods.video_lora.memory_estimate import latents_bytes
from facesmith.methods.video_lora.sampling import control_of, sampled, start_noise
from facesmith.models.encoders.vision import tell_count

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
        with atomic_write(path) as temporary:
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
    """Return the numbers of the entries that are still to be made."""
    return [number for number, path in enumerate(paths) if not cache.has(path)]


def tracked(items: Sequence[T], title: str, shown: bool) -> Iterator[T]:
    """Return the items one by one under a bar with the time that is left."""
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


Bucket = tuple[int, int, int]


def encode_faces(
    cache: Cache, hashes: ContentHashes, photos: Sequence[Path], reader: Callable[[], ReadsFaces], settings: str
) -> References:
    """Read the person's photos, or find them read. settings: all that decides what the reader says."""
    tell_count(len(photos), f"data.faces={photos[0].parent}")
    path = cache.path("faces", photos=sorted(hashes.of(photo) for photo in photos), reader=settings)
    if cache.has(path):
        tensors = cache.read(path)
        encoder = bytes(tensors.pop("encoder").tolist()).decode()
        return restored(tensors, encoder)
    references = reader().read(photos)
    name = torch.tensor(list(references.encoder.encode()), dtype=torch.uint8)
    cache.write(path, {**references.tensors(), "encoder": name}, {"photos": ", ".join(p.name for p in photos)})
    return references


def encode_clips(
    base: Base, cache: Cache, hashes: ContentHashes, clips: Sequence[Clip], judge: JudgesVideos, told: str, shown: bool
) -> list[Path]:
    """Return each clip's entry: `latents` and `steer` (C,F,h,w), `boxes` (T,4). told: all that decides the boxes."""
    paths = [
        cache.path(
            "clips",
            video=hashes.of(clip.pair.video),
            pose=hashes.of(clip.pair.pose),
            indices=clip.indices,
            size=[clip.height, clip.width],
            codec=base.codec_fingerprint,
            judge=told,
        )
        for clip in clips
    ]
    todo = missing(cache, paths)
    if not todo:
        return paths
    sizes = Counter(clips[number].bucket for number in todo)
    tell_room(cache.folder, latents_bytes(base, sizes, 2), f"latents of {len(todo)} clips", "data.cache")
    codec = base.codec().to(_device())
    for number in tracked(todo, "latents of clips", shown):
        clip = clips[number]
        dance, poses = read_clip(clip, clip.pair.video), read_clip(clip, clip.pair.pose)
        tensors = {
            "latents": encoded_video(codec, dance),
            "steer": encoded_video(codec, poses),
            "boxes": torch.from_numpy(judge.boxes(dance, poses)),
        }
        cache.write(paths[number], tensors, {"clip": clip.name})
    return paths


def encode_blanks(base: Base, cache: Cache, buckets: Sequence[Bucket]) -> dict[Bucket, Path]:
    """Return each bucket's entry of an empty video: the part of VACE's control that is the same for all clips."""
    paths = {
        bucket: cache.path("blanks", bucket=bucket, codec=base.codec_fingerprint) for bucket in dict.fromkeys(buckets)
    }
    todo = [bucket for bucket, path in paths.items() if not cache.has(path)]
    if todo:
        codec = base.codec().to(_device())
        for bucket in todo:
            grey = np.full((*bucket, 3), 127.5, np.float32)  # 0 to the codec, as in diffusers' pipeline
            cache.write(paths[bucket], {"latents": encoded_video(codec, grey)})
    return paths


def draw_prior(
    base: Base,
    cache: Cache,
    clips: Sequence[Path],
    texts: Sequence[Path],
    blanks: Sequence[Path],
    negative: Path,
    *,
    text_length: int,
    steps: int,
    cfg_scale: float,
    shown: bool,
) -> list[Path]:
    """Let the base draw to the poses and prompts of N clips what it draws by itself, each from a seed of its own."""
    settings = {"steps": steps, "cfg_scale": cfg_scale, "text_length": text_length, "base": base.fingerprint}
    paths = [
        cache.path("prior", clip=clip.stem, text=text.stem, negative=negative.stem, seed=seed, **settings)
        for seed, (clip, text) in enumerate(zip(clips, texts, strict=True))
    ]
    todo = missing(cache, paths)
    if not todo:
        return paths
    room = sum(clips[number].stat().st_size for number in todo) / 2
    tell_room(cache.folder, room, f"{len(todo)} clips of the base itself", "data.cache")
    device = _device()
    transformer, scheduler = base.transformer(_fast_dtype(device)).to(device), base.scheduler()
    dtype = transformer.dtype

    def rows(path: Path) -> Tensor:
        return padded(cache.read(path)["rows"], text_length)[None].to(device, dtype)

    for seed in tracked(todo, "clips of the base itself", shown):
        steer = cache.read(clips[seed])["steer"][None].to(device, dtype)
        blank = cache.read(blanks[seed])["latents"][None].to(device, dtype)
        latents = sampled(
            transformer,
            scheduler,
            noise=start_noise(steer.shape, [seed], device),
            control=control_of(steer, blank, base.side),
            text=rows(texts[seed]),
            negative=rows(negative),
            cfg_scale=cfg_scale,
            steps=steps,
        )
        cache.write(paths[seed], {"latents": latents[0].float()}, {"seed": str(seed)})
    return paths


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _fast_dtype(device: torch.device) -> Any:
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
