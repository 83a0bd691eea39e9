"""What meets in a batch, and that a resumed epoch goes on where it stopped."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from torch.utils.data import Dataset

from facesmith.training.loaders import ResumableLoader
from facesmith.training.swapping.dataset import MixedBatchSampler

KINDS = np.array(list("P" * 6 + "R" * 40 + "I" * 20))
SHARES = {"P": 2.0, "R": 1.0, "I": 1.0}


def sampler(batch_size: int, batches: int = 10, kinds: np.ndarray = KINDS) -> MixedBatchSampler:
    return MixedBatchSampler(kinds, SHARES, batch_size, batches, seed=0)


@pytest.mark.parametrize(("size", "wanted"), [(4, "PPRI"), (8, "PPPPRRII"), (16, "P" * 8 + "R" * 4 + "I" * 4)])
def test_mixed_batch_sampler_composition(size: int, wanted: str) -> None:
    for batch in sampler(size):
        assert "".join(KINDS[batch]) == wanted


def test_mixed_batch_sampler_batch_of_one_draws_by_weight() -> None:
    counts = Counter(KINDS[batch[0]] for batch in sampler(1, batches=2000))
    assert counts["P"] / 2000 == pytest.approx(0.5, abs=0.04)
    assert counts["R"] / 2000 == pytest.approx(0.25, abs=0.04)


def test_mixed_batch_sampler_odd_size_holds_whole_shares() -> None:
    for batch in sampler(3, batches=50):
        assert len(batch) == 3
        assert "P" in KINDS[batch]


def test_mixed_batch_sampler_visits_all_items_before_repeating() -> None:
    seen = [i for batch in sampler(4, batches=20) for i in batch]
    frames = [i for i in seen if KINDS[i] == "I"]
    assert sorted(frames) == list(range(46, 66))
    targets = [i for i in seen if KINDS[i] == "P"]
    assert all(sorted(targets[n : n + 6]) == list(range(6)) for n in range(0, 36, 6))


def test_mixed_batch_sampler_epochs_differ_and_missing_kinds_are_skipped() -> None:
    one = sampler(4)
    first = list(one)
    assert list(one) == first
    one.start_epoch(1, 0)
    second = list(one)
    assert second != first
    one.start_epoch(1, 7)
    assert list(one) == second[7:]
    for batch in sampler(4, kinds=np.array(list("IIII"))):
        assert len(batch) == 4
    with pytest.raises(ValueError, match="no item"):
        sampler(4, kinds=np.array(["X"]))


class _Numbers(Dataset[int]):
    def __len__(self) -> int:
        return len(KINDS)

    def __getitem__(self, index: int) -> int:
        return index


def _loader(workers: int = 0) -> ResumableLoader[Any]:
    return ResumableLoader(_Numbers(), sampler(4), collate_fn=list, num_workers=workers)


@pytest.mark.parametrize(("stop", "workers"), [(3, 0), (10, 0), (14, 0), (14, 2)])
def test_resumable_loader_continues_with_any_worker_count(stop: int, workers: int) -> None:
    whole = _loader()
    expected = [batch for _ in range(3) for batch in whole]
    first, seen, state = _loader(), [], None
    for _ in range(3):
        for batch in first:
            seen.append(batch)
            if len(seen) == stop:
                state = first.state_dict()
                break
        if state:
            break
    again = _loader(workers)
    again.load_state_dict(state)
    while len(seen) < 30:
        seen += list(again)
    assert seen == expected


def test_mixed_batch_sampler_processes_share_each_batch() -> None:
    kinds = np.array(["P"] * 10 + ["R"] * 6)
    whole, *parts = (
        list(MixedBatchSampler(kinds, {"P": 3, "R": 1}, 4, 5, seed=3, process=process, processes=processes))
        for process, processes in ((0, 1), (0, 2), (1, 2))
    )
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]
    assert all(len(batch) == 2 for part in parts for batch in part)
