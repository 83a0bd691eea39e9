"""Which training items meet in a batch, and in what order an epoch visits them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Integers = NDArray[np.integer]


class MixedBatchSampler(Sampler[list[int]]):
    """Batches with a fixed share of each kind of item, the first kind first.

    `kinds` (M,) names each item's kind, `shares` the weight of each kind in a batch, in order. A share that is no whole
    number of items is met on average: what is left of the batch is drawn by the fractions that are left. Kinds
    nobody has are left out. Each kind is visited in a fresh random order, whole before any item comes again. An epoch
    is a function of `seed` and its number alone, so that a resumed run sees what an uninterrupted one would. Processes
    that share batches of `batch_size` in all get every `processes`-th item of each. Raises ValueError when no item is
    of a wanted kind.
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
        return iter(self._plan(np.random.default_rng([self._seed, self._epoch]))[self._first :])

    def begin(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch number `batch` on."""
        self._epoch, self._first = epoch, batch

    def _plan(self, random: np.random.Generator) -> list[list[int]]:
        counts = np.stack([self._counts(random) for _ in range(self._batches)])
        orders = [_shuffled(found, total, random) for found, total in zip(self._items, counts.sum(0), strict=True)]
        ends = counts.cumsum(0)
        plan = [
            [int(i) for order, end, n in zip(orders, row, count, strict=True) for i in order[end - n : end]]
            for row, count in zip(ends, counts, strict=True)
        ]
        return [batch[self._process :: self._processes] for batch in plan]

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
