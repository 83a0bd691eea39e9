"""Outputs of the frozen networks, computed before training: faces, clips, blank videos, and prior clips."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facesmith.faces.face_set.content_key import ContentHashes
from facesmith.media.images import read_image
from facesmith.methods.video_lora.base import Base
from facesmith.methods.video_lora.block_streaming import stream_blocks
from facesmith.methods.video_lora.cache import Cache
from facesmith.methods.video_lora.clips import Bucket, Clip, read_clip
from facesmith.methods.video_lora.dataset import ClipItem
from facesmith.methods.video_lora.evaluation import VideoEvaluator
from facesmith.methods.video_lora.face_embeddings import FaceEmbeddings, PhotoEncoder
from facesmith.methods.video_lora.framing import crop_to_shape, locate_crop
from facesmith.methods.video_lora.latents import encode_video, initial_noise, sample_latents, vace_control
from facesmith.methods.video_lora.memory_check import check_disk_space
from facesmith.methods.video_lora.memory_estimate import latents_bytes
from facesmith.methods.video_lora.quantization import Storage, compute_dtype, enable_storage_casting
from facesmith.methods.video_lora.text_encoding import pad_rows
from facesmith.models.encoders.aggregation import warn_photo_count
from facesmith.progress import track


def embed_photos(
    cache: Cache, hashes: ContentHashes, photos: Sequence[Path], encoder: Callable[[], PhotoEncoder], settings: str
) -> FaceEmbeddings:
    """Embed a person's photos, or find their embeddings in the cache.

    Args:
        cache: Of all runs.
        hashes: Of the photos' content.
        photos: Of one person.
        encoder: Makes the encoder, only where it is needed.
        settings: All that decides what the encoder computes.

    Raises:
        UserError: a photo shows no face, or somebody else's.
    """
    warn_photo_count(len(photos), f"data.faces={photos[0].parent}")
    path = cache.path("faces", photos=[hashes.sha256(photo) for photo in photos], reader=settings, portraits=1)
    if cache.has(path):
        return FaceEmbeddings.from_tensors(cache.read(path))
    embeddings = encoder().encode(photos)
    cache.write(path, embeddings.to_tensors(), {"photos": ", ".join(photo.name for photo in photos)})
    return embeddings


def encode_clips(
    base: Base,
    cache: Cache,
    hashes: ContentHashes,
    clips: Sequence[Clip],
    dancers: Sequence[FaceEmbeddings],
    evaluator: VideoEvaluator,
    settings: str,
    progress: bool,
) -> list[Path]:
    """Encode the clips that the cache lacks.

    Args:
        base: Whose VAE encodes.
        cache: Of all runs.
        hashes: Of the videos' content.
        clips: Of dances and poses.
        dancers: Who dances in each.
        evaluator: Finds the head in every frame.
        settings: All that decides what the evaluator finds.
        progress: Whether a bar is shown.

    Returns:
        Each clip's entry: `latents` and `steer` (of the poses), (C,F,h,w); `boxes` (T,4) of the head in px.

    Raises:
        UserError: a video is damaged, or the disk is full.
    """
    paths = [
        cache.path(
            "clips",
            video=hashes.sha256(clip.pair.video),
            pose=hashes.sha256(clip.pair.pose),
            indices=clip.indices,
            size=[clip.height, clip.width],
            codec=base.vae_fingerprint,
            judge=settings,
            person=sha256(dancer.recognised.tobytes()).hexdigest(),
        )
        for clip, dancer in zip(clips, dancers, strict=True)
    ]
    todo = cache.missing(paths)
    if not todo:
        return paths
    sizes = Counter(clips[number].bucket for number in todo)
    check_disk_space(cache.folder, latents_bytes(base, sizes, 2), f"latents of {len(todo)} clips", "data.cache")
    vae = base.load_vae().to(_device())
    for number in track(todo, "latents of clips", shown=progress, transient=True):
        clip = clips[number]
        dance, poses = read_clip(clip, clip.pair.video), read_clip(clip, clip.pair.pose)
        tensors = {
            "latents": encode_video(vae, dance),
            "steer": encode_video(vae, poses),
            "boxes": torch.from_numpy(evaluator.find_heads(dance, poses, dancers[number])),
        }
        cache.write(paths[number], tensors, {"clip": clip.name})
    return paths


def encode_photos(
    base: Base,
    cache: Cache,
    hashes: ContentHashes,
    photos: Sequence[tuple[Path, Sequence[float] | None, tuple[int, int]]],
    blanks: Mapping[Bucket, Path],
) -> list[Path]:
    """Encode photos as videos of one frame that follow no pose.

    Args:
        base: Whose VAE encodes.
        cache: Of all runs.
        hashes: Of the photos' content.
        photos: File, box (4,) of the face in px, and size (height, width) of each.
        blanks: From `encode_blanks`.

    Returns:
        Each photo's entry: `latents` and `steer` (C,1,h,w), `boxes` (1,4) of the head in px.
    """
    paths = [
        cache.path(
            "photos",
            photo=hashes.sha256(photo),
            box=None if box is None else [round(float(edge), 2) for edge in box],
            size=list(size),
            codec=base.vae_fingerprint,
        )
        for photo, box, size in photos
    ]
    todo = cache.missing(paths)
    vae = base.load_vae().to(_device()) if todo else None
    for number in todo:
        photo, box, size = photos[number]
        picture = read_image(photo)
        top, left, scale = locate_crop(picture.shape[:2], box, *size)
        head = (
            [float("nan")] * 4
            if box is None
            else [(edge - start) * scale for edge, start in zip(box, (left, top, left, top), strict=True)]
        )
        tensors = {
            "latents": encode_video(vae, crop_to_shape(picture, box, *size)[None]),
            "steer": cache.read(blanks[1, *size])["latents"],
            "boxes": torch.tensor([head]),
        }
        cache.write(paths[number], tensors, {"photo": photo.name})
    return paths


def encode_blanks(base: Base, cache: Cache, buckets: Sequence[Bucket]) -> dict[Bucket, Path]:
    """Encode an empty video of each size: the part of VACE's control that is the same for all clips.

    Args:
        base: Whose VAE encodes.
        cache: Of all runs.
        buckets: Frames, height and width of each clip.

    Returns:
        Each size's entry: `latents` (C,F,h,w).
    """
    paths = {
        bucket: cache.path("blanks", bucket=bucket, codec=base.vae_fingerprint) for bucket in dict.fromkeys(buckets)
    }
    todo = [bucket for bucket, path in paths.items() if not cache.has(path)]
    if todo:
        vae = base.load_vae().to(_device())
        for bucket in todo:
            grey = np.full((*bucket, 3), 127.5, np.float32)  # 0 to the VAE, as in diffusers' pipeline
            cache.write(paths[bucket], {"latents": encode_video(vae, grey)})
    return paths


def generate_prior_clips(
    base: Base,
    cache: Cache,
    items: Sequence[ClipItem],
    blanks: dict[Bucket, Path],
    negative: Path,
    *,
    text_length: int,
    steps: int,
    cfg_scale: float,
    progress: bool,
    storage: Storage = "as_computed",
    streamed: bool = False,
) -> list[Path]:
    """Generate a clip with the base alone for the poses and the prompt of each item.

    Args:
        base: Whose transformer generates.
        cache: Of all runs.
        items: Whose poses and prompts are taken; each has its position as seed.
        blanks: From `encode_blanks`.
        negative: Entry of the negative prompt.
        text_length: Rows of a prompt.
        steps: Of the sampler.
        cfg_scale: Classifier-free guidance scale.
        progress: Whether a bar is shown.
        storage: Type that the transformer's weights are stored in, as in training.
        streamed: Whether its blocks wait in CPU memory, as in training.

    Returns:
        Each item's entry: `latents` (C,F,h,w).

    Raises:
        UserError: the disk is full.
    """
    settings = {"steps": steps, "cfg_scale": cfg_scale, "text_length": text_length, "base": base.fingerprint}
    if storage != "as_computed":
        settings["storage"] = storage
    paths = [
        cache.path("prior", clip=item.clip.stem, text=item.text.stem, negative=negative.stem, seed=seed, **settings)
        for seed, item in enumerate(items)
    ]
    todo = cache.missing(paths)
    if not todo:
        return paths
    size = sum(items[number].clip.stat().st_size for number in todo) / 2
    check_disk_space(cache.folder, size, f"{len(todo)} clips of the base itself", "data.cache")
    device = _device()
    dtype, scheduler = compute_dtype("auto"), base.load_scheduler()
    transformer = base.load_transformer(dtype, storage=storage)
    enable_storage_casting(transformer, storage, dtype)
    if streamed:
        stream_blocks(transformer)
    transformer = transformer.to(device)

    def read_text(path: Path) -> Tensor:
        return pad_rows(cache.read(path)["rows"], text_length)[None].to(device, dtype)

    for seed in track(todo, "clips of the base itself", shown=progress, transient=True):
        item = items[seed]
        poses = cache.read(item.clip)["steer"][None].to(device, dtype)
        blank = cache.read(blanks[item.bucket])["latents"][None].to(device, dtype)
        latents = sample_latents(
            transformer,
            scheduler,
            noise=initial_noise(poses.shape, [seed], device),
            control=vace_control(poses, blank, base.spatial_compression),
            text=read_text(item.text),
            negative=read_text(negative),
            cfg_scale=cfg_scale,
            steps=steps,
        )
        cache.write(paths[seed], {"latents": latents[0].float()}, {"seed": str(seed)})
    return paths


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
