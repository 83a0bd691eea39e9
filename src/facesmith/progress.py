"""The progress bar of everything that takes long outside of a training."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


def progress_bar(*, shown: bool, console: Console | None = None, transient: bool = False) -> Progress:
    """Build a bar with the description, the count, the time that has passed and the time that is left.

    Args:
        shown: Whether there is a bar at all.
        console: Where it is shown; None: rich's own.
        transient: Whether it disappears at the end.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
        transient=transient,
    )


def with_progress(items: Sequence[T], description: str, *, shown: bool) -> Iterator[T]:
    """Return the items one by one below a bar that disappears at the end.

    Args:
        items: To iterate over.
        description: Left of the bar.
        shown: Whether there is a bar at all.
    """
    with progress_bar(shown=shown and bool(items), transient=True) as bar:
        task = bar.add_task(description, total=len(items))
        for item in items:
            yield item
            bar.advance(task)
