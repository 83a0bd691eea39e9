"""The progress bar of everything that takes long, but training, whose bar is Lightning's."""

from collections.abc import Iterable, Iterator, Sized
from typing import Literal, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


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
