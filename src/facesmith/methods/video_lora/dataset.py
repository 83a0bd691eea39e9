"""Cached clips as training samples, and which of them meet in a batch."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from facesmith.methods.video_lora.clips import Bucket
from facesmith.methods.video_lora.flow_matching import head_coverage
from facesmith.methods.video_lora.text_encoding import pad_rows

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class ClipItem:
    """The cache entries of a sample.

    Attributes:
        latents: Of the clip, or of one that the base generated.
        clip: Poses and heads.
        text: Of the prompt.
        bucket: Frames, height and width.
        prior: Whether the base generated it.
        identity: Position of who dances.
        photo: Number of the person's photo that the clip is; -1: it is a video.
    """

    latents: Path
    clip: Path
    text: Path
    bucket: Bucket
    prior: bool
    identity: int
    photo: int = -1


class ClipDataset(Dataset[Batch]):
    """Samples of latents, poses, words, a face and where heads are; kept in memory once read.

    Args:
        items: Where the samples lie.
        faces: (P,E), everybody's mean embedding.
        text_length: Rows of a prompt.
        factor: Frames and px of a latent cell.
    """

    def __init__(
        self,
        items: Sequence[ClipItem],
        *,
        faces: Tensor,
        text_length: int,
        factor: tuple[int, int],
    ) -> None:
        self.items = list(items)
        self._faces = faces
        self._text_length, self._factor = text_length, factor
        self._loaded: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Batch:
        if index not in self._loaded:
            self._loaded[index] = self._load(self.items[index])
        identity = self.items[index].identity
        known = {"face": self._faces[identity], "identity": torch.tensor(identity), "index": torch.tensor(index)}
        return {**self._loaded[index], **known}

    def _load(self, item: ClipItem) -> Batch:
        clip = load_file(item.clip)
        latents = load_file(item.latents)["latents"]
        frames, height, width = latents.shape[1:]
        return {
            "latents": latents,
            "poses": clip["steer"],
            "heads": head_coverage(clip["boxes"], (frames, height, width), self._factor),
            "text": pad_rows(load_file(item.text)["rows"], self._text_length),
            "prior": torch.tensor(item.prior),
            "photo": torch.tensor(item.photo),
        }


def collate(items: Sequence[Batch]) -> Batch:
    """Stack samples.

    Returns:
        latents and poses (N,C,F,h,w), heads (N,1,F,h,w), text (N,L,W), face (N,E); the rest (N,).
    """
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


class BucketSampler(Sampler[list[int]]):
    """Batches of one bucket each; an epoch shows every clip of the person at least `repeats` times.

    A batch holds `batch_size` samples, of which the share `prior_share` are the base's own: whole numbers are met
    exactly, what is left on average. The last batch of a bucket is filled with samples of the same bucket, so that none
    is dropped. An epoch is a function of `seed` and its number alone, so that a resumed run sees what an uninterrupted
    one would.

    Args:
        buckets: (M,) what each sample may be batched with.
        prior: (M,) which samples are the base's own.
        batch_size: Samples of a batch.
        prior_share: Share of the base's own samples.
        repeats: How often an epoch shows each clip of the person.
        seed: Of the order.
        photos: (M,) which samples are photos, which have batches of their own; None: none.
        photos_share: Share of the batches that are photos.
    """

    def __init__(
        self,
        buckets: Sequence[Hashable],
        prior: NDArray[np.bool_],
        *,
        batch_size: int,
        prior_share: float,
        repeats: int,
        seed: int,
        photos: NDArray[np.bool_] | None = None,
        photos_share: float = 0.0,
    ) -> None:
        kinds = {bucket: number for number, bucket in enumerate(dict.fromkeys(buckets))}
        of = np.array([kinds[bucket] for bucket in buckets])
        still = np.zeros(len(of), bool) if photos is None else photos
        self._clips = [np.flatnonzero((of == kind) & ~prior & ~still) for kind in kinds.values()]
        self._photos = [np.flatnonzero((of == kind) & still) for kind in kinds.values()]
        self._photos_share = photos_share
        self._prior = [np.flatnonzero((of == kind) & prior) for kind in kinds.values()]
        self._batch_size, self._share, self._repeats = batch_size, prior_share, repeats
        self._seed, self._epoch, self._first = seed, 0, 0
        self._length = len(self._plan(0))

    def __len__(self) -> int:
        return self._length

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        """Make the next iteration that of `epoch`, from batch number `first_batch` on."""
        self._epoch, self._first = epoch, first_batch

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._plan(self._epoch)[self._first :]
        self._epoch, self._first = self._epoch + 1, 0
        return iter(batches)

    def _plan(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self._seed, epoch])
        batches: list[list[int]] = []
        for clips, prior in zip(self._clips, self._prior, strict=True):
            if len(clips):
                batches += self._plan_bucket(clips, prior, random)
        batches += self._plan_photos(len(batches), random)
        return [batches[k] for k in random.permutation(len(batches))]

    def _plan_photos(self, others: int, random: np.random.Generator) -> list[list[int]]:
        """Plan batches of photos beside `others` batches, the sizes of photos in proportion to their numbers."""
        total = sum(map(len, self._photos))
        if not total or not self._photos_share:
            return []
        wanted = max(1, round(others * self._photos_share / (1 - self._photos_share)))
        ends = np.round(np.cumsum([len(photos) for photos in self._photos]) / total * wanted).astype(int)
        batches: list[list[int]] = []
        for photos, count in zip(self._photos, np.diff(ends, prepend=0), strict=True):
            shown = _shuffle(photos, int(count) * self._batch_size, random)
            batches += [[int(i) for i in batch] for batch in shown.reshape(int(count), self._batch_size)]
        return batches

    def _plan_bucket(
        self, clips: NDArray[np.int64], prior: NDArray[np.int64], random: np.random.Generator
    ) -> list[list[int]]:
        wanted = self._batch_size * (self._share if len(prior) else 0.0)
        # the number of batches must not depend on chance: epochs are equally long
        count = max(1, int(np.ceil(self._repeats * len(clips) / max(self._batch_size - wanted, 1e-9))))
        prior_counts = np.floor(np.arange(1, count + 1) * wanted) - np.floor(np.arange(count) * wanted)
        prior_counts = random.permutation(prior_counts.astype(np.int64))
        clip_counts = self._batch_size - prior_counts
        shown = _shuffle(clips, int(clip_counts.sum()), random)
        shown_prior = _shuffle(prior, int(prior_counts.sum()), random)
        ends, prior_ends = clip_counts.cumsum(), prior_counts.cumsum()
        return [
            [int(i) for i in (*shown[end - n : end], *shown_prior[prior_end - m : prior_end])]
            for end, n, prior_end, m in zip(ends, clip_counts, prior_ends, prior_counts, strict=True)
        ]


def _shuffle(items: NDArray[np.int64], total: int, random: np.random.Generator) -> NDArray[np.int64]:
    if not total:
        return items[:0]
    rounds = -(-total // len(items))
    return np.concatenate([random.permutation(items) for _ in range(rounds)])[:total]
