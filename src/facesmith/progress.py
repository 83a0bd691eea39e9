"""The progress bar of everything that takes long, but training, whose bar is Lightning's."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from typing import Final, Literal, TypeVar

from rich import get_console
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


def progress_bar(
    *,
    shown: bool = True,
    console: Console | None = None,
    transient: bool = False,
    unit: Literal["items", "bytes"] = "items",
) -> Progress:
    """Make a progress bar: title, bar, how much is done, time taken, time left.

    Args:
        shown: False makes one that draws nothing.
        console: Where it is drawn; None: standard output.
        transient: Whether it disappears when it is done.
        unit: What is counted.
    """
    done: ProgressColumn = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        done,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=transient, disable=not shown)


def track(
    items: Iterable[T],
    title: str,
    total: int | None = None,
    *,
    shown: bool = True,
    console: Console | None = None,
    transient: bool = False,
) -> Iterator[T]:
    """Yield items under a progress bar; there is none where there are no items.

    Args:
        items: What is done one by one.
        title: Stands before the bar.
        total: How many there are; None: their length, if they have one.
        shown: False yields without a bar.
        console: Where the bar is drawn; None: standard output.
        transient: Whether it disappears when it is done.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(shown=shown and total != 0, console=console, transient=transient) as bar:
        yield from bar.track(items, total=total, description=title)


def track_parts(total: int, size: int, title: str, *, shown: bool = True) -> Iterator[slice]:
    """Yield slices of a sequence that is worked on in parts, under a bar of its items that disappears when it is done.

    Without a terminal it is one line of the log.

    Args:
        total: Items of the sequence.
        size: Items of a part.
        title: Stands before the bar.
        shown: False yields without a bar.
    """
    visible = shown and get_console().is_terminal
    if shown and not visible:
        log.info("%s ...", title)
    with progress_bar(shown=visible, transient=True) as bar:
        task = bar.add_task(title, total=total)
        for start in range(0, total, size):
            yield slice(start, start + size)
            bar.update(task, completed=min(total, start + size))


def format_duration(seconds: float) -> str:
    """Format a duration as one says it: 40 s, 3 min 20 s, 2 h 5 min.

    Args:
        seconds: Of the duration.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextmanager
def waiting(title: str, *, shown: bool = True, expected: float | None = None) -> Iterator[None]:
    """Show what is being done, and for how long, while it cannot be counted; it disappears when it is done.

    Without a terminal it is one line of the log.

    Args:
        title: What is done.
        shown: False shows nothing.
        expected: Seconds that it took the last time; None where that is not known.
    """
    title = title if expected is None else f"{title} (last time {format_duration(expected)})"
    # a console of its own goes on where a library redirects the output; within a bar there is but one
    console = get_console() if isinstance(sys.stdout, FileProxy) else Console(file=sys.stdout)
    if not shown or not console.is_terminal:
        if shown:
            log.info("%s ...", title)
        yield
        return
    columns = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    done = threading.Event()
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar, _stand_in(title) as beat:

        def redraw() -> None:
            while not done.wait(_SECONDS_BETWEEN_BEATS):
                bar.refresh()
                beat()

        bar.add_task(title, total=None)
        bar.refresh()
        # rich draws a display within another one only when the outer one is drawn
        thread = threading.Thread(target=redraw, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


# What draws while this process cannot: a library that holds the interpreter's lock for minutes stops all its threads.
_STAND_IN: Final = """
import os, select, sys, time
title, began, parent = sys.argv[1], time.monotonic(), os.getppid()
while os.getppid() == parent:
    ready, _, _ = select.select([0], [], [], 2.0)
    if ready:
        if not sys.stdin.buffer.raw.read(64):
            break
        continue
    seconds = int(time.monotonic() - began)
    mark = "-\\\\|/"[seconds // 2 % 4]
    text = f"{mark} {title} {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    sys.stdout.write("\\r\\x1b[2K" + text)
    sys.stdout.flush()
"""
_SECONDS_BETWEEN_BEATS: Final = 0.25


@contextmanager
def _stand_in(title: str) -> Iterator[Callable[[], None]]:
    """Start a small process that goes on with a spinner while the yielded function has not been called for 2 s."""
    if os.name != "posix":
        yield lambda: None
        return
    command = [sys.executable, "-I", "-S", "-c", _STAND_IN, title]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        pipe = process.stdin

        def beat() -> None:
            with suppress(OSError):
                pipe.write(b".")
                pipe.flush()

        try:
            yield beat
        finally:
            with suppress(OSError):
                pipe.close()
            process.terminate()  # processes forked meanwhile, which load data, hold the pipe open
