"""Several files, one after the other: what fails for one ends that one only."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from facesmith.errors import UserError, explain_failure, summarize_error
from facesmith.media.sources import printable

R = TypeVar("R")
log = logging.getLogger(__name__)


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
        """Work on one file.

        Args:
            path: The file, for messages.
            work: Does it.

        Returns:
            What `work` returns; None when it failed and others are left to do.

        Raises:
            Exception: whatever the work raises, when there is only one file.
        """
        try:
            return work()
        except Exception as error:
            if self._count == 1:
                raise
            reason = explain_failure(error, self._config, None) or summarize_error(error)
            named = reason if str(path) in reason else f"{printable(path)}: {reason}"
            log.debug("%s", named, exc_info=error)
            self.failed[path] = named
            self._tell(f"skipped: {named}")
            return None

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
