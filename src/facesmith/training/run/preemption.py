"""Signals that ask a run to stop: it saves at the next step and ends, or ends at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from facesmith.errors import Interrupted
from facesmith.training.run.checkpoint_files import find_newest_checkpoint
from facesmith.training.run.resume import resume_command

# Ctrl-C; kill and a cluster's grace period; what clusters send before a time limit or a preemption
_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)

Handler = Callable[[int, FrameType | None], Any] | int | None


class PreemptionHandler:
    """Receive the signals that ask a run to stop.

    Before training has begun there is nothing to save, so the first signal stops at once. After that it is kept, for
    `GracefulShutdown` to follow at the next step; a second Ctrl-C stops at once.

    Attributes:
        received: Number of the signal that came, or None.
        training: Whether there is something to save.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.training = False
        self._previous: dict[int, Handler] = {}
        self._process = os.getpid()

    def install(self) -> None:
        """Handle the signals that have no handler yet; a launcher such as submitit that requeues jobs keeps its own."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            current = signal.getsignal(number)
            if number in self._previous:
                signal.signal(number, self._on_signal)  # Lightning puts its own in front when it starts to fit
            elif current in (signal.SIG_DFL, signal.default_int_handler):
                self._previous[number] = current
                signal.signal(number, self._on_signal)

    def restore(self) -> None:
        """Restore the handlers that were there."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def mark_requested(self) -> None:
        """Record that another process of the run was asked to stop."""
        self.received = signal.SIGTERM

    def raise_if_requested(self) -> None:
        """Stop the run when a signal came.

        Raises:
            Interrupted: It did.
        """
        if self.received is not None:
            raise Interrupted(self.received)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            self._on_signal_in_child(number)
            return
        if not self.training or (self.received is not None and number == signal.SIGINT):
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            raise Interrupted(number)
        if self.received is None:
            self.received = number
            hint = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            # a handler may run in the middle of a print
            os.write(2, f"\n{signal.Signals(number).name}: saving after this step{hint}\n".encode())

    def _on_signal_in_child(self, number: int) -> None:
        """Make a forked process, such as a loader's worker, survive the terminal's Ctrl-C: its data are needed."""
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def handle_preemption(run: Path) -> Iterator[PreemptionHandler]:
    """Handle signals while a run is under way; when one ends it, add to the error how to resume.

    Args:
        run: The run's folder.
    """
    handler = PreemptionHandler()
    handler.install()
    try:
        yield handler
    except Interrupted as stop:
        name, saved = signal.Signals(stop.code - 128).name, find_newest_checkpoint(run).path
        stop.lines = (
            [f"Stopped by {name}; resume with", f"  {resume_command(run)}"]
            if saved
            else [f"Stopped by {name} before the first checkpoint; give the same command again"]
        )
        raise
    finally:
        handler.restore()
