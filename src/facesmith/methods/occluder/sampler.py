"""The order in which faces come, each time with another occlusion."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

Draw = tuple[int, int]


class DrawBatches(Sampler[list[Draw]]):
    """Visit `count` faces `repeats` times an epoch, in random order: batches of pairs (row, number of the draw).

    An epoch is a function of `seed` and its number alone; what is laid over a face is a function of the draw's number,
    so that a resumed run sees what an uninterrupted one would. The last batch is as full as the others: rows of the
    epoch's beginning fill it up.
    """

    def __init__(self, count: int, repeats: int, batch_size: int, seed: int) -> None:
        self.count, self.repeats, self.batch_size, self.seed = count, repeats, batch_size, seed
        self._epoch, self._first = 0, 0

    def begin(self, epoch: int, batch: int) -> None:
        """Make the next iteration that of `epoch`, from its batch number `batch` on."""
        self._epoch, self._first = epoch, batch

    def __len__(self) -> int:
        return -(-self.count * self.repeats // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        random = np.random.default_rng([self.seed, self._epoch])
        rows = np.concatenate([random.permutation(self.count) for _ in range(self.repeats)])
        rows = np.resize(rows, len(self) * self.batch_size)
        for batch in range(self._first, len(self)):
            places = range(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield [(int(rows[place]), self._epoch * len(rows) + place) for place in places]
