"""The learning rate, and how it bends when a training is extended."""

import itertools

import pytest
import torch

from facesmith.training.schedule import WarmupCosine


def fresh(steps: int) -> tuple[torch.optim.Optimizer, WarmupCosine]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    return optimizer, WarmupCosine(optimizer, steps, warmup=0.1, final=0.01)


def rates(steps: int, until: int) -> list[float]:
    optimizer, schedule = fresh(steps)
    return [_stepped(optimizer, schedule) for _ in range(until)]


def _stepped(optimizer: torch.optim.Optimizer, schedule: WarmupCosine) -> float:
    rate = float(optimizer.param_groups[0]["lr"])
    optimizer.step()
    schedule.step()
    return rate


def extended(old: int, new: int, at: int) -> list[float]:
    """Train `at` steps of a training of `old`, save, and go on to `new`."""
    optimizer, schedule = fresh(old)
    seen = [_stepped(optimizer, schedule) for _ in range(at)]
    state, weights = schedule.state_dict(), optimizer.state_dict()
    optimizer, schedule = fresh(new)
    optimizer.load_state_dict(weights)
    schedule.load_state_dict(state)
    return seen + [_stepped(optimizer, schedule) for _ in range(new - at)]


def test_warmup_cosine_rises_and_falls() -> None:
    seen = rates(100, 100)
    assert seen[0] == pytest.approx(0.05)
    assert seen[9] == pytest.approx(0.5)
    assert seen[55] == pytest.approx(0.5 * (0.01 + 0.99 / 2), rel=0.01)
    assert seen[99] == pytest.approx(0.005, rel=0.05)


def test_warmup_cosine_same_length_resumes_exactly() -> None:
    assert extended(100, 100, at=37) == rates(100, 100)


@pytest.mark.parametrize(("old", "new", "at"), [(100, 300, 100), (100, 150, 60), (300, 120, 80), (100, 200, 5)])
def test_warmup_cosine_other_length_has_no_jump(old: int, new: int, at: int) -> None:
    seen = extended(old, new, at)
    assert seen[:at] == rates(old, at)
    steepest = 0.5 / max(1, round(0.1 * min(old, new - at)))
    assert all(abs(a - b) <= 1.3 * steepest for a, b in itertools.pairwise(seen))
    glide = at + max(1, round(0.1 * (new - at)))
    assert seen[glide:] == rates(new, new)[glide:]
    assert seen[-1] == pytest.approx(0.005, rel=0.1)


def test_warmup_cosine_extended_twice_has_no_jump() -> None:
    optimizer, schedule = fresh(50)
    for _ in range(50):
        _stepped(optimizer, schedule)
    for steps, at in ((100, 52), (200, 53)):
        state, before = schedule.state_dict(), optimizer.param_groups[0]["lr"]
        optimizer, schedule = fresh(steps)
        schedule.load_state_dict(state)
        assert schedule.factor(schedule.last_epoch) * 0.5 == pytest.approx(before)
        for _ in range(at - schedule.last_epoch):
            _stepped(optimizer, schedule)
