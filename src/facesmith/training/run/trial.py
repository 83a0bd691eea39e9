"""The job of a sweep that this process runs. Needs no torch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CurrentTrial:
    """The job of a sweep that this process runs.

    Attributes:
        number: Of the trial, and of the job's folder.
        point: The swept keys' values.
        report: Takes a value of the monitored metric and the number of epochs done, and returns whether the job should
            end; None where the sweep does not prune.
    """

    number: int
    point: Mapping[str, Any]
    report: Callable[[float, int], bool] | None


_current: CurrentTrial | None = None


@contextmanager
def set_current_trial(trial: CurrentTrial) -> Iterator[None]:
    """Make `get_current_trial` return the trial while the context lasts."""
    global _current
    before, _current = _current, trial
    try:
        yield
    finally:
        _current = before


def get_current_trial() -> CurrentTrial | None:
    """Return the trial under way, or None outside of a sweep."""
    return _current


def get_swept_values() -> Mapping[str, Any]:
    """Return the swept keys' values of the trial under way; none outside of a sweep."""
    return {} if _current is None else _current.point
