"""Batches of one size, the base's own clips in a fixed share, the same again after a stop."""

import numpy as np
import pytest

from facesmith.methods.video_lora.dataset import BucketSampler


def sampler(batch_size: int = 4, share: float = 0.5, seed: int = 3) -> BucketSampler:
    buckets = ["wide"] * 7 + ["tall"] * 3 + ["wide"] * 4 + ["tall"] * 2
    prior = np.array([False] * 10 + [True] * 6)
    return BucketSampler(buckets, prior, batch_size=batch_size, prior_share=share, repeats=2, seed=seed)


def test_a_batch_holds_one_size_and_the_share() -> None:
    tall = {7, 8, 9, 14, 15}
    for batch in sampler():
        assert len({number in tall for number in batch}) == 1
        assert len(batch) == 4
        assert sum(number >= 10 for number in batch) == 2


@pytest.mark.parametrize(("batch_size", "share"), [(4, 0.5), (1, 0.5), (3, 0.25), (4, 0.0)])
def test_an_epoch_shows_every_clip_of_the_person_and_is_always_as_long(batch_size: int, share: float) -> None:
    batches = sampler(batch_size, share)
    lengths = set()
    for _ in range(5):
        seen = [number for batch in batches for number in batch]
        assert all(seen.count(number) >= 2 for number in range(10))
        lengths.add(len(list(batches)))
    assert lengths == {len(batches)}
    everything = [number for _ in range(20) for batch in batches for number in batch]
    assert np.mean([number >= 10 for number in everything]) == pytest.approx(share, abs=0.1)


def test_an_epoch_is_a_function_of_its_number() -> None:
    whole = sampler()
    expected = [list(whole) for _ in range(3)]
    other = sampler()
    other.start_epoch(1, 2)
    assert list(other) == expected[1][2:]
    assert list(other) == expected[2]
    assert expected[0] != expected[1]
