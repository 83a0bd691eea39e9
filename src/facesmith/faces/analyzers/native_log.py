"""What MediaPipe's C++ code does to a process: it prints on every start, and samples its CPU time by a signal."""

import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

# absl's own severity prefixes, and the lines of TensorFlow Lite and LiteRT at start; errors and all else pass.
_NOISE: Final = re.compile(
    rb"^([WI]\d{4} |INFO: Created TensorFlow|WARNING: (All log|Logging before)|(INFO|WARNING): \[\w+\.cc:\d+\] )"
)


class _Redirection:
    """Holds back the process's standard error from the first `begin` to the last `end`, from whatever threads.

    A file descriptor belongs to the process: two threads that each redirect and restore it undo one another's work,
    and what is written afterwards is lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._original = -1
        self._held: IO[bytes] | None = None

    def begin(self) -> None:
        with self._lock:
            if self._users == 0:
                sys.stderr.flush()
                self._held = tempfile.TemporaryFile()  # noqa: SIM115 - the last `end` closes it
                self._original = os.dup(2)
                os.dup2(self._held.fileno(), 2)
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._held is None:
                return
            sys.stderr.flush()
            os.dup2(self._original, 2)
            os.close(self._original)
            with self._held as held:
                held.seek(0)
                for line in held:
                    if not _NOISE.match(line):
                        os.write(2, line)
            self._held = None


_redirection: Final = _Redirection()


def ignore_profiling_ticks() -> None:
    """Ignore SIGPROF, by which libmediapipe samples its CPU time: ticks after a landmarker was closed end a process.

    Lightning's `fit` brings back the handlers that it found at its start, so this must be called before as well. Does
    nothing outside the main thread, or where somebody handles the signal.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGPROF) is signal.SIG_DFL:
        signal.signal(signal.SIGPROF, signal.SIG_IGN)


@contextmanager
def filter_stderr() -> Iterator[None]:
    """Capture the process's standard error; at the end print it without MediaPipe's messages.

    MediaPipe has no switch for that: its warnings go to the file descriptor from native threads. Several threads may be
    inside at once; then the last one to leave prints.
    """
    _redirection.begin()
    try:
        yield
    finally:
        _redirection.end()
