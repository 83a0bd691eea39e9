"""Several files, one after the other or on an engine: what fails for one ends that one only."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from rich.progress import Progress, TaskID

from facesmith.errors import DiskFullError, UserError, comes_from_full_disk, explain_failure, summarize_error
from facesmith.faces.face import Analyzer
from facesmith.media.sources import printable
from facesmith.terminal import print_line

log = logging.getLogger(__name__)


class Job(Protocol):
    """One file and what becomes of it; plain values, which another process can be sent."""

    @property
    def path(self) -> Path:
        """The file that is read."""


class Report(Protocol):
    """Takes what is worth telling while files are worked on, in this process or another."""

    def tell(self, line: str) -> None:
        """Print a line.

        Args:
            line: A sentence for the user.
        """

    def advance(self, path: Path, done: int, total: int) -> None:
        """Show how far a file is.

        Args:
            path: The file.
            done: Frames that are done.
            total: Frames that it has.
        """


J = TypeVar("J", bound=Job)
R = TypeVar("R")
J_contra = TypeVar("J_contra", bound=Job, contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[J_contra, R_co]):
    """Works on one file after the other, with models that it has loaded.

    It pickles as its settings, so that another process loads the models itself.
    """

    @property
    def config(self) -> object:
        """Settings of the task."""

    def __call__(self, job: J_contra, report: Report) -> R_co:
        """Work on one file.

        Args:
            job: The file.
            report: Takes lines and progress.

        Raises:
            Exception: The file cannot be used.
        """


@dataclass(frozen=True)
class Failure:
    """Why a file has no result.

    Attributes:
        reason: One line, for the user.
        error: What was raised.
        ends_all: Whether the other files would fail as well.
    """

    reason: str
    error: Exception
    ends_all: bool = False


class Engine(Protocol):
    """Where files are worked on."""

    @property
    def threads(self) -> int | None:
        """Threads that a file gets where the task leaves them open; None: as many as there are cores."""

    def run(self, jobs: Sequence[J], work: Work[J, R], report: Report) -> Iterator[tuple[J, R | Failure]]:
        """Work on files.

        Args:
            jobs: The files.
            work: What is done with each.
            report: Takes lines and progress.

        Yields:
            Each file, with its result, as they come.
        """


def attempt(work: Callable[[], R], config: object) -> R | Failure:
    """Work on one file.

    Args:
        work: Does it.
        config: Settings of the job; those that cost memory are named when there is none left.

    Returns:
        What `work` returns, or why it failed.
    """
    try:
        return work()
    except Exception as error:
        reason = explain_failure(error, config, None) or summarize_error(error)
        log.debug("%s", reason, exc_info=error)
        return Failure(reason, error, isinstance(error, DiskFullError) or comes_from_full_disk(error))


class Batch:
    """Works on files of one setting; one that fails is told and skipped, unless it is the only one.

    Attributes:
        failed: The files that were skipped, and why.
    """

    def __init__(self, count: int, tell: Callable[[str], None], config: object) -> None:
        """Begin.

        Args:
            count: How many files there are.
            tell: Prints a line.
            config: Settings of the job; those that cost memory are named when there is none left.
        """
        self._count, self._tell, self._config = count, tell, config
        self.failed: dict[Path, str] = {}

    def run(self, path: Path, work: Callable[[], R]) -> R | None:
        """Work on one file, here and now.

        Args:
            path: The file, for messages.
            work: Does it.

        Returns:
            What `work` returns; None when it failed and others are left to do.

        Raises:
            Exception: whatever the work raises, when there is only one file.
            UserError: the others would fail as well.
        """
        outcome = attempt(work, self._config)
        if not isinstance(outcome, Failure):
            return outcome
        self._skip(path, outcome)
        return None

    def map(self, engine: Engine, jobs: Sequence[J], work: Work[J, R], report: "BarReport") -> Iterator[tuple[J, R]]:
        """Work on files where an engine does.

        Args:
            engine: Works on them.
            jobs: Those of the files that are left to do.
            work: What is done with each.
            report: Takes lines and progress.

        Yields:
            The files that did not fail, with what `work` returned, as they come.

        Raises:
            Exception: whatever the work raises, when there is only one file.
            UserError: the others would fail as well.
        """
        for job, outcome in engine.run(jobs, work, report):
            report.finish(job.path)
            if isinstance(outcome, Failure):
                self._skip(job.path, outcome)
            else:
                yield job, outcome

    def require_any(self, done: Iterable[object], nothing: str) -> None:
        """Make sure that something came out.

        Args:
            done: Results of the files that did not fail.
            nothing: What the message begins with when there is none.

        Raises:
            UserError: all failed; the message names the first.
        """
        if self.failed and not any(True for _ in done):
            raise UserError(f"{nothing} {len(self.failed)} files; first: {next(iter(self.failed.values()))}")

    def _skip(self, path: Path, failure: Failure) -> None:
        if self._count == 1:
            raise failure.error
        if failure.ends_all:
            raise UserError(failure.reason) from failure.error
        named = failure.reason if str(path) in failure.reason else f"{printable(path)}: {failure.reason}"
        self.failed[path] = named
        self._tell(f"skipped: {named}")


def require_same_analyzer(analyzer: Analyzer, fingerprint: str) -> None:
    """Make sure that a worker's process finds faces as the one that sent it the work does.

    Args:
        analyzer: Of the worker.
        fingerprint: Of the sender's.

    Raises:
        UserError: The two differ.
    """
    if analyzer.fingerprint != fingerprint:
        raise UserError("its analyzer has other weights or libraries; install the same on all machines")


class BarReport:
    """Draws a row for each file in work, and one for all of them where there are several."""

    def __init__(self, bar: Progress, count: int, done: int = 0, *, title: str = "files") -> None:
        """Begin.

        Args:
            bar: Where it is drawn; lines are printed above.
            count: How many files there are.
            done: How many of them were done before.
            title: What they are.
        """
        self._bar, self._lock = bar, threading.Lock()
        self._rows: dict[Path, TaskID] = {}
        self._finished: set[Path] = set()
        self._all = bar.add_task(title, total=count, completed=done) if count > 1 else None
        self._first = bar.add_task("starting", total=None) if count == 1 else None

    def tell(self, line: str) -> None:
        """Print a line, see `Report`."""
        print_line(line, self._bar.console)

    def advance(self, path: Path, done: int, total: int) -> None:
        """Show how far a file is, see `Report`."""
        with self._lock:
            if path in self._finished:  # an engine tells it from elsewhere, and late
                return
            self._begin()
            if path not in self._rows:
                self._rows[path] = self._bar.add_task(path.name, total=total)
            self._bar.update(self._rows[path], completed=done)

    def finish(self, path: Path) -> None:
        """Count a file as done.

        Args:
            path: The file.
        """
        if self._all is None:
            self._begin()
            return
        with self._lock:
            self._finished.add(path)
            self._bar.advance(self._all)
            if path in self._rows:
                self._bar.remove_task(self._rows.pop(path))

    def _begin(self) -> None:
        """Remove the row that stands for a single file until its frames are counted."""
        if self._first is not None:
            self._bar.remove_task(self._first)
            self._first = None
