"""A terminal in which a command runs, of 100 by 30 unless asked otherwise: every screen it showed, and when."""

import os
import pty
import select
import signal
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pyte

COLUMNS, ROWS = 100, 30


@dataclass
class Played:
    """What a command showed.

    Attributes:
        code: Its exit code.
        first: Seconds until something stood on the screen.
        gaps: Seconds between two changes of the screen, and the last line before; those above 3 s.
        screens: Snapshots in which something had changed, at most two a second.
        text: Everything that was on the screen and above it at the end.
    """

    code: int = -1
    first: float | None = None
    gaps: list[tuple[float, str]] = field(default_factory=list)
    screens: list[tuple[float, str]] = field(default_factory=list)
    text: str = ""

    def save(self, path: Path) -> None:
        """Write the screens into one text file."""
        parts = [f"--- {seconds:.1f} s ---\n{screen}" for seconds, screen in self.screens]
        path.write_text("\n".join([*parts, f"--- the end, code {self.code} ---", self.text, f"gaps: {self.gaps}"]))


def play(command: Sequence[str], folder: Path, limit: float = 1200.0, columns: int = COLUMNS) -> Played:
    """Run a command in a pseudo terminal and watch its screen.

    Args:
        command: Its words.
        folder: Where it runs.
        limit: Seconds after which it is ended.
        columns: Of the terminal.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(ROWS)}
        os.execvpe(command[0], list(command), environment)
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen = pyte.HistoryScreen(columns, ROWS, history=100_000)
    stream, played, began = pyte.ByteStream(screen), Played(), time.monotonic()
    changed, shown = began, ""
    while time.monotonic() - began < limit:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        stream.feed(data)
        now, before = time.monotonic(), shown
        shown = "\n".join(line.rstrip() for line in screen.display).rstrip()
        if shown == before:
            continue
        if played.first is None and shown.strip():
            played.first = now - began
        if now - changed > 3:
            played.gaps.append((now - changed, (before.splitlines() or [""])[-1]))
        changed = now
        if not played.screens or now - began - played.screens[-1][0] > 0.5:
            played.screens.append((now - began, shown))
    else:
        os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    played.code = os.waitstatus_to_exitcode(status)
    above = ("".join(line[x].data for x in range(columns)).rstrip() for line in screen.history.top)
    played.text = "\n".join([*above, shown])
    return played
