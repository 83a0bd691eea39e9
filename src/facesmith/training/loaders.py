"""Training batches whose place in the data can be saved and found again, whatever the number of workers."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T", covariant=True)


class EpochSampler(Protocol):
    """Batches of indices in an order that is a function of the epoch's number."""

    def begin(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch number `batch` on."""
        ...

    def __iter__(self) -> Iterator[list[int]]: ...

    def __len__(self) -> int:
        """Count the batches of a whole epoch."""
        ...


class ResumableLoader(DataLoader[T]):
    """A DataLoader that says how many batches of which epoch it gave, and goes on after them.

    torchdata's StatefulDataLoader does this too, but refuses another number of workers than it was saved with, sends
    a state along with every batch, and draws from torch's global random state at each epoch. Here the order is the
    sampler's alone, counted where batches are used, and the loader's own seeds come from a generator of its own.

    What a dataset draws at random inside a worker process is not restored: make it a function of the index.
    """

    def __init__(self, dataset: Dataset[T], batch_sampler: EpochSampler, **arguments: Any) -> None:
        self._epoch, self._given = -1, 0
        self._next: tuple[int, int] | None = None
        sampler: Any = batch_sampler
        super().__init__(dataset, batch_sampler=sampler, generator=torch.Generator(), **arguments)

    def __iter__(self) -> Any:
        self._epoch, self._given = self._next or (self._epoch + 1, 0)
        self._next = None
        sampler: Any = self.batch_sampler
        sampler.begin(self._epoch, self._given)
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[T]) -> Iterator[T]:
        for batch in batches:
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Say which epoch is under way and how many of its batches were given."""
        return {"epoch": self._epoch, "given": self._given}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Make the next iteration go on after those batches."""
        self._next = (state_dict["epoch"], state_dict["given"])

    def end_epoch(self) -> None:
        """Make the next iteration the epoch after the one that was loaded."""
        if self._next is not None:
            self._next = (self._next[0] + 1, 0)
