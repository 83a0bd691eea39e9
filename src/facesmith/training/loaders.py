"""A DataLoader whose position in the data can be saved and restored, whatever the number of workers."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T", covariant=True)


class EpochSampler(Protocol):
    """Batches of what a dataset is indexed with, in an order that is a function of the epoch's number alone."""

    def start_epoch(self, epoch: int, first_batch: int) -> None:
        """Make the next iteration that of an epoch, from one of its batches on.

        Args:
            epoch: From 0.
            first_batch: From 0; the batches before it are skipped.
        """
        ...

    def __iter__(self) -> Iterator[Sequence[object]]: ...

    def __len__(self) -> int:
        """Count the batches of a whole epoch."""
        ...


class ResumableLoader(DataLoader[T]):
    """A DataLoader that saves how many batches of which epoch it has delivered, and continues after them.

    torchdata's `StatefulDataLoader` does this too, but refuses another number of workers than it was saved with, sends
    a state along with every batch, and draws from torch's global random state at each epoch. Here the order is the
    sampler's alone, counted where batches are used, and the loader's own seeds come from a generator of its own.

    What a dataset draws at random inside a worker process is not restored: make it a function of the index.

    Args:
        dataset: Map-style dataset.
        batch_sampler: Gives the order of each epoch.
        arguments: Further arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: Dataset[T], batch_sampler: EpochSampler, **arguments: Any) -> None:
        self._epoch, self._delivered = -1, 0
        self._next: tuple[int, int] | None = None
        sampler: Any = batch_sampler
        super().__init__(dataset, batch_sampler=sampler, generator=torch.Generator(), **arguments)

    def __iter__(self) -> Any:
        self._epoch, self._delivered = self._next or (self._epoch + 1, 0)
        self._next = None
        sampler: Any = self.batch_sampler
        sampler.start_epoch(self._epoch, self._delivered)
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[T]) -> Iterator[T]:
        for batch in batches:
            self._delivered += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the current epoch, and as `given` how many of its batches were delivered."""
        return {"epoch": self._epoch, "given": self._delivered}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Make the next iteration continue after those batches."""
        self._next = (state_dict["epoch"], state_dict["given"])

    def load_first_batch(self) -> T:
        """Load the current epoch's first batch in this process; the position stays as it is."""
        sampler: Any = copy.copy(self.batch_sampler)
        sampler.start_epoch(max(0, self._epoch), 0)
        batch: T = load_batch(self, next(iter(sampler)))
        return batch

    def skip_to_next_epoch(self) -> None:
        """Make the next iteration the epoch after the one that was loaded."""
        if self._next is not None:
            self._next = (self._next[0] + 1, 0)


def load_batch(loader: DataLoader[Any], keys: Sequence[Any]) -> Any:
    """Load a batch in this process, as the loader's workers do.

    Args:
        loader: Over a map-style dataset.
        keys: What its sampler names.
    """
    whole = getattr(loader.dataset, "__getitems__", None)
    items = whole(keys) if callable(whole) else [loader.dataset[key] for key in keys]
    return loader.collate_fn(items)
