"""The progress bar of everything that takes long, but training, whose bar is Lightning's."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Literal, TypeVar

from rich import get_console
from rich.console import Console
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
def waiting(title: str, *, shown: bool = True) -> Iterator[None]:
    """Show what is being done, and for how long, while it cannot be counted; it disappears when it is done.

    Without a terminal it is one line of the log.

    Args:
        title: What is done.
        shown: False shows nothing.
    """
    console = get_console()
    if not shown or not console.is_terminal:
        if shown:
            log.info("%s ...", title)
        yield
        return
    columns = (SpinnerColumn("line"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    done = threading.Event()
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:

        def redraw() -> None:
            while not done.wait(0.25):
                bar.refresh()

        bar.add_task(title, total=None)
        # rich draws a display within another one only when the outer one is drawn
        thread = threading.Thread(target=redraw, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
