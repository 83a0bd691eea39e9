"""Which training items meet in a batch, and in what order an epoch visits them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Integers = NDArray[np.integer]


class _Epoch(Iterator[list[int]]):
    """The batches of one epoch, with a place that can be saved and found again."""

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self._batches = batches
        self._position = 0

    def __next__(self) -> list[int]:
        if self._position == len(self._batches):
            raise StopIteration
        self._position += 1
        return self._batches[self._position - 1]

    def state_dict(self) -> dict[str, Any]:
        """Say how many batches were given."""
        return {"position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the batches that were given."""
        self._position = state["position"]


class MixedBatchSampler(Sampler[list[int]]):
    """Batches with a fixed share of each kind of item, the first kind first.

    `kinds` (M,) names each item's kind, `shares` the weight of each kind in a batch, in order. A share that is no whole
    number of items is met on average: what is left of the batch is drawn by the fractions that are left. Kinds
    nobody has are left out. Each kind is visited in a fresh random order, whole before any item comes again. An epoch
    is a function of `seed` and its number alone, so that a resumed run sees what an uninterrupted one would. Raises
    ValueError when no item is of a wanted kind.
    """

    def __init__(
        self, kinds: NDArray[Any], shares: Mapping[Any, float], batch_size: int, batches: int, seed: int
    ) -> None:
        items = {kind: np.flatnonzero(kinds == kind) for kind in shares}
        self._items = [found for found in items.values() if len(found)]
        weights = np.array([shares[kind] for kind, found in items.items() if len(found)], dtype=np.float64)
        if not weights.sum() > 0:
            raise ValueError(f"no item is of the kinds {list(shares)}")
        self._wanted = weights / weights.sum() * batch_size
        self._batch_size, self._batches = batch_size, batches
        self._seed, self._epoch = seed, 0

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        self._epoch += 1
        return _Epoch(self._plan(np.random.default_rng([self._seed, self._epoch])))

    def state_dict(self) -> dict[str, Any]:
        """Say which epoch is under way."""
        return {"seed": self._seed, "epoch": self._epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration the epoch that was under way."""
        self._seed, self._epoch = state["seed"], state["epoch"] - 1

    def _plan(self, random: np.random.Generator) -> list[list[int]]:
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
