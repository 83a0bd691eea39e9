"""The engine of one machine: files one after the other, in this process."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from facesmith.tasks.batch import Failure, J, R, Report, Work, attempt


class LocalEngine:
    """Works on files one after the other in this process; a task uses several threads for each.

    Attributes:
        threads: None: the task decides.
    """

    threads: int | None = None

    def run(self, jobs: Sequence[J], work: Work[J, R], report: Report) -> Iterator[tuple[J, R | Failure]]:
        """Work on files in their order, see `Engine`."""
        for job in jobs:
            yield job, attempt(partial(work, job, report), work.config)


LOCAL: Final = LocalEngine()
