"""An engine of this process for small files: several at a time, one a thread."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from facesmith.tasks.batch import Failure, J, R, Report, Work, attempt

_AHEAD: Final = 2  # files in work or waiting, a thread


class ThreadEngine:
    """Works on several files at a time in this process; what is done with them must be thread-safe.

    Attributes:
        threads: None: of a file.
    """

    threads: int | None = None

    def __init__(self, count: int) -> None:
        """Begin.

        Args:
            count: Files at a time.
        """
        self._count = count

    def run(self, jobs: Sequence[J], work: Work[J, R], report: Report) -> Iterator[tuple[J, R | Failure]]:
        """Work on files, see `Engine`; few results wait in memory, whatever the number of files."""
        rest = iter(jobs)
        waiting: dict[Future[R | Failure], J] = {}
        with ThreadPoolExecutor(self._count) as threads:
            try:
                while True:
                    while len(waiting) < _AHEAD * self._count and (job := next(rest, None)) is not None:
                        waiting[threads.submit(attempt, partial(work, job, report), work.config)] = job
                    if not waiting:
                        return
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        yield waiting.pop(future), future.result()
            finally:
                threads.shutdown(cancel_futures=True)
