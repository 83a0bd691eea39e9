"""Which clips meet in a batch: of one size, the person's and the base's own in a fixed share."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from facesmith.methods.video_lora.flow_matching import latent_heads


class BucketSampler(Sampler[list[int]]):
    """An epoch shows every clip of the person `repeats` times, in batches of one bucket each.

    buckets: (M,) what each item may be batched with. prior: (M,) which items are the base's own. A batch holds
    `batch_size` items, of which the share `prior_share` are the base's own: whole numbers are met exactly, what is
    left on average. What is left of a bucket is filled up with items of the same bucket, so that none is dropped.
    An epoch is a function of `seed` and its number alone, so that a resumed run sees what an uninterrupted one would.
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
    ) -> None:
        kinds = {bucket: number for number, bucket in enumerate(dict.fromkeys(buckets))}
        of = np.array([kinds[bucket] for bucket in buckets])
        self._own = [np.flatnonzero((of == kind) & ~prior) for kind in kinds.values()]
        self._prior = [np.flatnonzero((of == kind) & prior) for kind in kinds.values()]
        self._batch_size, self._share, self._repeats = batch_size, prior_share, repeats
        self._seed, self._epoch, self._first = seed, 0, 0
        self._length = len(self._plan(0))

    def __len__(self) -> int:
        return self._length

    def begin(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch number `batch` on."""
        self._epoch, self._first = epoch, batch

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._plan(self._epoch)[self._first :]
        self._epoch, self._first = self._epoch + 1, 0
        return iter(batches)

    def _plan(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng([self._seed, epoch])
        batches: list[list[int]] = []
        for own, prior in zip(self._own, self._prior, strict=True):
            if len(own):
                batches += self._of_bucket(own, prior, random)
        return [batches[k] for k in random.permutation(len(batches))]

    def _of_bucket(
        self, own: NDArray[np.int64], prior: NDArray[np.int64], random: np.random.Generator
    ) -> list[list[int]]:
        wanted = self._batch_size * (self._share if len(prior) else 0.0)
        # the number of batches must not depend on chance: epochs are equally long
        count = max(1, int(np.ceil(self._repeats * len(own) / max(self._batch_size - wanted, 1e-9))))
        guests = np.floor(np.arange(1, count + 1) * wanted) - np.floor(np.arange(count) * wanted)
        guests = random.permutation(guests.astype(np.int64))
        hosts = self._batch_size - guests
        shown, visited = _shuffled(own, int(hosts.sum()), random), _shuffled(prior, int(guests.sum()), random)
        ends, borders = hosts.cumsum(), guests.cumsum()
        return [
            [int(i) for i in (*shown[end - n : end], *visited[border - m : border])]
            for end, n, border, m in zip(ends, hosts, borders, guests, strict=True)
        ]


def _shuffled(items: NDArray[np.int64], total: int, random: np.random.Generator) -> NDArray[np.int64]:
    if not total:
        return items[:0]
    rounds = -(-total // len(items))
    return np.concatenate([random.permutation(items) for _ in range(rounds)])[:total]


Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Item:
    """Where the parts of one item lie. latents: of a clip, or of one that the base drew. prior: it is the base's.

    person: number of whose face it shows.
    """

    latents: Path
    clip: Path
    text: Path
    bucket: tuple[int, int, int]
    prior: bool
    person: int


class ClipDataset(Dataset[Batch]):
    """Items of latents, pose latents, words, a face and where heads are; kept in memory once read.

    identities: (P,E), everybody's embedding. text_length: rows of a prompt. factor: frames and px of a latent cell.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        identities: Tensor,
        text_length: int,
        factor: tuple[int, int],
    ) -> None:
        self.items = list(items)
        self._identities = identities
        self._length, self._factor = text_length, factor
        self._read: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Batch:
        if index not in self._read:
            self._read[index] = self._load(self.items[index])
        person = self.items[index].person
        named = {"face": self._identities[person], "person": torch.tensor(person), "index": torch.tensor(index)}
        return {**self._read[index], **named}

    def _load(self, item: Item) -> Batch:
        clip = load_file(item.clip)
        latents = load_file(item.latents)["latents"]
        frames, height, width = latents.shape[1:]
        return {
            "latents": latents,
            "steer": clip["steer"],
            "heads": latent_heads(clip["boxes"], (frames, height, width), self._factor),
            "text": padded(load_file(item.text)["rows"], self._length),
            "own": torch.tensor(not item.prior),
        }


def collated(items: Sequence[Batch]) -> Any:
    """Stack items: latents and steer (N,C,F,h,w), heads (N,1,F,h,w), text (N,L,W), face (N,E), and (N,) of the rest."""
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def padded(rows: Tensor, length: int) -> Tensor:
    """Return (L,W): the rows, then zeros."""
    return torch.cat([rows, rows.new_zeros(length - len(rows), rows.shape[1])])
