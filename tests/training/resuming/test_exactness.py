"""A training killed at random equals one that was not: every logged figure, every weight, bit by bit."""

from collections.abc import Callable
from typing import Any

import pytest

Killed = Callable[..., list[dict[str, Any]]]


def _assert_equal(results: list[dict[str, Any]], cases: int) -> None:
    assert len(results) == cases
    for result in results:
        assert result["equal"] == result["rows"] == result["rows_killed"], result
        assert result["unequal"] == [], result


def test_resume_killed_training_equals_uninterrupted(killed: Killed) -> None:
    """Dropout, moving average, batch statistics, accumulation; no workers and two; the swapper on real faces.

    The last one is asked to stop by signals that save.
    """
    results = killed(no_workers=2, two_workers=2, swapper_unjudged=1, asked_to_stop=1)
    _assert_equal(results, 4)
    assert [result["kills"] for result in results] == [2, 2, 1, 1], results


@pytest.mark.slow
def test_resume_killed_twenty_times_equals_uninterrupted(killed: Killed) -> None:
    """With checkpoints of whole epochs alone too; the swapper with its gate, and the one with an adversary."""
    results = killed(no_workers=20, two_workers=20, between_epochs=8, asked_to_stop=8, swapper=20, swapper_aad=20)
    _assert_equal(results, 6)
    assert [result["kills"] for result in results] == [20, 20, 8, 8, 20, 20], results
