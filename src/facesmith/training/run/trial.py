"""The sweep's job that this process runs, for whoever reports to it. Needs no torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

_current: "RunningTrial | None" = None


@dataclass(frozen=True)
class RunningTrial:
    """A job of a sweep.

    Args:
        number: of the trial, and of the job's folder.
        point: the swept keys' values.
        reports: where intermediate values go; None where the sweep prunes nothing.
    """

    number: int
    point: Mapping[str, Any]
    reports: "optuna.trial.Trial | None"

    def hopeless(self, value: float, epochs: int) -> bool:
        """Report the monitored metric after so many epochs; say whether the job should end."""
        if self.reports is None:
            return False
        if epochs not in self.reports.storage.get_trial(self.reports._trial_id).intermediate_values:
            self.reports.report(value, epochs)
        return self.reports.should_prune()


@contextmanager
def running(trial: RunningTrial) -> Iterator[None]:
    """Let `current` find the trial."""
    global _current
    before, _current = _current, trial
    try:
        yield
    finally:
        _current = before


def current() -> RunningTrial | None:
    """Return the job under way, or None outside of a sweep."""
    return _current


def swept() -> Mapping[str, Any]:
    """Return the swept keys' values of the job under way; none outside of a sweep."""
    return {} if _current is None else _current.point
