"""A process beside the server: what loads large libraries, may crash or hang in one, runs there, not in the server."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Final, ParamSpec, TypeVar, cast

import psutil

from facesmith.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

_LEAST: Final = 60.0  # seconds for a medium of any size
_SLOWEST: Final = 5e6  # bytes a second, of a slow disk


class WorkerError(UserError):
    """The process died or was killed; the next call begins another."""


class TooSlowError(WorkerError):
    """The process was killed because a call took too long; it would again."""


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

    def call(self, seconds: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the process, one at a time.

        Args:
            seconds: How long it may take; then the process is killed. Its start does not count.
            function: Of a module that imports little.
            args: Its arguments.
            kwargs: Its named arguments.

        Returns:
            What the function returned.

        Raises:
            UserError: The function raised it.
            WorkerError: The process died, or the function took too long.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                number = self._pool.submit(os.getpid).result()
                done, problem = self._wait(number, seconds, self._pool.submit(_run, function, args, kwargs))
            except BrokenProcessPool:
                self._pool = None
                raise WorkerError("the process that reads media ended: killed, or out of memory; try again") from None
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

    def _wait(
        self, number: int, seconds: float, result: "Future[tuple[object, str | None]]"
    ) -> tuple[object, str | None]:
        """Return a result that comes in time; else kill the process, of this number."""
        if wait([result], seconds).not_done:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(number).kill()
            self.close()
            raise TooSlowError(f"took more than {seconds:.0f} seconds and was stopped; convert the file, or omit it")
        return result.result()


_MEDIA: Final = Worker(idle=60)


def read_medium(function: Callable[[Path], R], path: Path) -> R:
    """Read a medium in the process that all of the page shares, and for no longer than its size explains.

    Args:
        function: Of a module that imports little.
        path: Of the medium.

    Returns:
        What the function returned.

    Raises:
        UserError: The function raised it.
        WorkerError: The process died, or took too long.
    """
    return _MEDIA.call(_LEAST + path.stat().st_size / _SLOWEST, function, path)


def _run(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[object, str | None]:
    """Call a function; a user's mistake returns as its line, for not every error can be sent to another process."""
    try:
        return function(*args, **kwargs), None
    except UserError as error:
        return None, str(error)
