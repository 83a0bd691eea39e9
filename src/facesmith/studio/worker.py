"""A process beside the server: what loads large libraries, or may crash in one, runs there and not in the server."""

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Final, ParamSpec, TypeVar, cast

from facesmith.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


class Worker:
    """One process, which begins with the first call and ends when there was none for a while.

    Args:
        idle: Seconds without a call after which it ends.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the process, one at a time.

        Args:
            function: Of a module that imports little.
            args: Its arguments.
            kwargs: Its named arguments.

        Returns:
            What the function returned.

        Raises:
            UserError: The function raised it, or the process died.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                done, problem = self._pool.submit(_run, function, args, kwargs).result()
            except BrokenProcessPool:
                self._pool = None
                raise UserError("the process that reads media ended: killed, or out of memory; try again") from None
            finally:
                self._timer = threading.Timer(self._idle, self.close)
                self._timer.daemon = True
                self._timer.start()
        if problem is not None:
            raise UserError(problem)
        return cast(R, done)

    def close(self) -> None:
        """End the process; the next call begins another."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


MEDIA: Final = Worker(idle=60)
"""Reads uploads and the marks of files, for the whole page."""


def _run(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[object, str | None]:
    """Call a function; a user's mistake returns as its line, for not every error can be sent to another process."""
    try:
        return function(*args, **kwargs), None
    except UserError as error:
        return None, str(error)
