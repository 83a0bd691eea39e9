"""Stopping when asked: at the next step with a checkpoint, or at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from facesmith.errors import Interrupted
from facesmith.training.run.checkpoint_files import newest_good
from facesmith.training.run.resume import command

# Ctrl-C; kill and a cluster's grace period; what clusters send before a time limit or a preemption
_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)

Handler = Callable[[int, FrameType | None], Any] | int | None


class StopWish:
    """Whether the run was asked to stop, and by which signal.

    Before training has begun there is nothing to save, so the first signal stops at once. After that it is noted, to be
    followed by a callback at the next step; a second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None
        self.training = False
        self._taken: dict[int, Handler] = {}
        self._process = os.getpid()

    def take(self) -> None:
        """Handle the signals nobody else handles; a launcher such as submitit that requeues jobs keeps its own."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            current = signal.getsignal(number)
            if number in self._taken:
                signal.signal(number, self._asked)  # Lightning puts its own in front when it starts to fit
            elif current in (signal.SIG_DFL, signal.default_int_handler):
                self._taken[number] = current
                signal.signal(number, self._asked)

    def give_back(self) -> None:
        """Restore the handlers that were there."""
        for number, handler in self._taken.items():
            signal.signal(number, handler)
        self._taken = {}

    def heard(self) -> None:
        """Note that another process of the run was asked to stop."""
        self.wanted = signal.SIGTERM

    def check(self) -> None:
        """Stop, when asked to.

        Raises:
            Interrupted: a signal came.
        """
        if self.wanted is not None:
            raise Interrupted(self.wanted)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._asked_a_child(number)
            return
        if not self.training or (self.wanted is not None and number == signal.SIGINT):
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            raise Interrupted(number)
        if self.wanted is None:
            self.wanted = number
            hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            # a handler may run in the middle of a print
            os.write(2, f"\n{signal.Signals(number).name}: saving after this step{hint}\n".encode())

    def _asked_a_child(self, number: int) -> None:
        """Let a forked process, such as a loader's worker, live through the terminal's Ctrl-C: its data are needed."""
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def stopping(run: Path) -> Iterator[StopWish]:
    """Handle signals while a run is under way; when one ends it, say how to go on."""
    wish = StopWish()
    wish.take()
    try:
        yield wish
    except Interrupted as stop:
        name, saved = signal.Signals(stop.code - 128).name, newest_good(run).path
        stop.lines = (
            [f"Stopped by {name}; go on with", f"  {command(run)}"]
            if saved
            else [f"Stopped by {name} before the first checkpoint; give the same command again"]
        )
        raise
    finally:
        wish.give_back()
