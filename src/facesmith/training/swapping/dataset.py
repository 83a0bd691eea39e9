"""Training items as tensors in memory, fetched a batch at a time, and the order in which they come."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from facesmith.faces.pseudo_labels.training_items import KINDS, TrainingItems

PICTURES: Final = ("target", "truth")
MASKS: Final = ("hull", "alpha")

Batch = dict[str, Tensor]


class SwapDataset(Dataset[Batch]):
    """Items of one person or several, as bytes; a batch is one indexing operation a tensor.

    Args:
        items: Of one size.
        sources: (E,) embeddings, L2-normalised, one a person.
        people: Whose each element of `items` is: a position in `sources`.
        roles: Numbers that the items carry along, one array an element of `items`; None for 0.
    """

    def __init__(
        self,
        items: Sequence[TrainingItems],
        sources: Sequence[NDArray[np.float32]],
        people: Sequence[int],
        roles: Sequence[NDArray[np.int64]] | None = None,
    ) -> None:
        def joined(name: str) -> Tensor:
            arrays = np.concatenate([getattr(part, name) for part in items])
            return torch.from_numpy(arrays if arrays.ndim < 4 else np.ascontiguousarray(arrays.transpose(0, 3, 1, 2)))

        self.tensors = {name: joined(name) for name in (*PICTURES, "canonical")}
        self.tensors |= {name: joined(name)[:, None] for name in MASKS}
        self.kinds = np.concatenate([part.kind for part in items])
        self.tensors["kind"] = torch.tensor([KINDS.index(kind) for kind in self.kinds.tolist()])
        person = np.repeat(np.array(people), [len(part) for part in items])
        self.tensors["person"] = torch.from_numpy(person)
        role = np.concatenate(roles) if roles is not None else np.zeros(len(person), np.int64)
        self.tensors["role"] = torch.from_numpy(role)
        self.sources = torch.from_numpy(np.stack(sources))

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> Batch:
        return {name: tensor[0] for name, tensor in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: pictures (N,3,S,S) and masks (N,1,S,S) uint8, canonical (N,2,S,S) half, the rest as it is."""
        rows = torch.tensor(indices)
        batch = {name: tensor[rows] for name, tensor in self.tensors.items()}
        batch["source"] = self.sources[batch["person"]]
        return batch


def collate_batch(batch: Any) -> Any:
    """Return the batch as it is: `SwapDataset` fetches whole ones."""
    return batch


def as_floats(batch: Batch) -> Batch:
    """Convert bytes to pictures -1..1 and masks 0..1, and half-precision coordinates to float32, on any device."""
    floats = {name: batch[name].float().div_(127.5).sub_(1) for name in PICTURES}
    floats |= {name: batch[name].float().div_(255) for name in MASKS}
    return {**batch, **floats, "canonical": batch["canonical"].float()}


def as_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Convert pictures (N,C,S,S) -1..1 to (N,S,S,C) uint8 on the CPU."""
    scaled = pictures.detach().float().add(1).mul(127.5).round().clamp(0, 255).byte()
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


Integers = NDArray[np.integer]


class MixedBatchSampler(Sampler[list[int]]):
    """Batches with a fixed share of each kind of item, the first kind first.

    A share that is no whole number of items is met on average: what is left of the batch is drawn by the fractions that
    are left. Kinds without items are skipped. Each kind is visited in a fresh random order, whole before any item comes
    again. An epoch is a function of `seed` and its number alone, so that a resumed run sees what an uninterrupted one
    would.

    Args:
        kinds: (M,) each item's kind.
        shares: Weight of each kind in a batch, in order.
        batch_size: Items in a batch, over all processes.
        batches: In an epoch.
        seed: Of the order.
        process: Number of this process.
        processes: How many share each batch; each gets every `processes`-th item of it.

    Raises:
        ValueError: No item is of a wanted kind.
    """

    def __init__(
        self,
        kinds: NDArray[Any],
        shares: Mapping[Any, float],
        batch_size: int,
        batches: int,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        items = {kind: np.flatnonzero(kinds == kind) for kind in shares}
        self._items = [found for found in items.values() if len(found)]
        weights = np.array([shares[kind] for kind, found in items.items() if len(found)], dtype=np.float64)
        if not weights.sum() > 0:
            raise ValueError(f"no item is of the kinds {list(shares)}")
        self._wanted = weights / weights.sum() * batch_size
        self._batch_size, self._batches = batch_size, batches
        self._process, self._processes = process, processes
        self._seed, self._epoch, self._first = seed, 0, 0

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        plan = self._plan(np.random.default_rng([self._seed, self._epoch]))[self._first :]
        return (batch[self._process :: self._processes] for batch in plan)

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        """Set the epoch and the first batch of the next iteration.

        Args:
            epoch: Number of the epoch, from 0.
            first_batch: Number of its first batch, from 0.
        """
        self._epoch, self._first = epoch, first_batch

    def _plan(self, random: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of an epoch."""
        counts = np.stack([self._counts(random) for _ in range(self._batches)])
        orders = [_shuffled(found, total, random) for found, total in zip(self._items, counts.sum(0), strict=True)]
        ends = counts.cumsum(0)
        return [
            [int(i) for order, end, n in zip(orders, row, count, strict=True) for i in order[end - n : end]]
            for row, count in zip(ends, counts, strict=True)
        ]

    def _counts(self, random: np.random.Generator) -> Integers:
        counts = np.floor(self._wanted + 1e-9).astype(np.int64)
        fractions = np.clip(self._wanted - counts, 0, None)
        left = self._batch_size - int(counts.sum())
        if left:
            chosen = random.choice(len(counts), size=left, replace=False, p=fractions / fractions.sum())
            counts[chosen] += 1
        return counts


def _shuffled(items: Integers, total: int, random: np.random.Generator) -> Integers:
    rounds = -(-total // len(items))
    orders = [random.permutation(items) for _ in range(rounds)]
    return np.concatenate(orders)[:total] if orders else items[:0]
