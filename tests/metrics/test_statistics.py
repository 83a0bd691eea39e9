import numpy as np
import pytest

from facesmith.metrics.statistics import LEAST_PAIRS, adjust_p_values, estimate, paired_p_value


def test_estimate_of_normal_values_equals_students_interval():
    values = np.random.default_rng(0).normal(3, 2, 40)
    found = estimate(values, "mean", resamples=8000)
    half = 2.0227 * values.std(ddof=1) / np.sqrt(40)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)


def test_estimate_of_a_share_keeps_an_interval_at_its_end():
    found = estimate(np.ones(10), "share")
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.722, abs=0.001)  # Wilson's, of any table


def test_estimate_without_or_with_one_value_has_no_interval():
    assert estimate(np.array([np.nan]), "mean").count == 0
    found = estimate(np.array([2.0, np.nan]), "mean")
    assert (found.value, found.count) == (2, 1)
    assert np.isnan([found.low, found.high]).all()


def test_estimate_of_fewer_values_than_an_interval_needs_has_none():
    rng = np.random.default_rng(0)
    for reduction, least in LEAST_PAIRS.items():
        values = rng.random(least) if reduction != "share" else np.arange(least) % 2.0
        assert not np.isnan(estimate(values, reduction).low)
        assert np.isnan(estimate(values[1:], reduction).low)
    assert np.isnan(estimate(np.array([0.5, 0.25, 1]), "share").low)  # of the frames of three videos


def test_estimate_interval_stays_where_values_can_be():
    found = estimate(np.array([0.1, 0.1, 0.1, 5.0]), "mean")
    assert found.low >= 0
    assert estimate(np.array([-0.1, 0.1, 0.1, 5.0]), "mean").low < 0
    found = estimate(np.array([0.5, 1, 1, 1]), "share")
    assert found.high == 1


def test_estimate_of_a_median_is_the_interval_between_order_statistics():
    # of 10 values the 2nd and the 9th cover 97.85 %, the 3rd and the 8th 89.06 %
    found = estimate(np.arange(10.0) ** 2, "median")
    share = (0.978516 - 0.95) / (0.978516 - 0.890625)
    share = 8 * share / (2 + 6 * share)
    assert found.value == 20.5
    assert (found.low, found.high) == pytest.approx((1 + 3 * share, 64 - 15 * share), abs=0.01)
    found = estimate(np.arange(5.0), "median")
    assert (found.low, found.high) == (0, 4)


def test_estimate_of_signed_values_averages_magnitudes():
    assert estimate(np.array([-2.0, 2.0]), "size").value == 2


def test_paired_p_value_of_few_pairs_is_exact():
    ours = np.array([1.0, 2, 3, 4])
    assert paired_p_value(ours, ours - 1, "mean") == pytest.approx(2 / 16)  # all signs alike, of 16 choices
    assert paired_p_value(ours, ours, "mean") == 1


def test_adjust_p_values_is_holms():
    assert adjust_p_values(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx(
        [0.03, np.nan, 0.06, 0.06], nan_ok=True
    )


def test_paired_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(1)
    found = np.array([paired_p_value(*rng.exponential(1, (2, 8)), "mean") for _ in range(300)])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert (found <= level).mean() == pytest.approx(level, abs=0.075)  # 3 standard errors


@pytest.mark.parametrize(
    ("draw", "truth", "reduction", "count"),
    [
        (lambda rng, n: rng.normal(2, 1, n), 2.0, "mean", 4),
        (lambda rng, n: rng.gamma(4, 1, n), 4.0, "mean", 4),
        (lambda rng, n: rng.gamma(4, 1, n), 4.0, "mean", 6),
        (lambda rng, n: rng.normal(2, 1, n), 2.0, "mean", 8),
        (lambda rng, n: rng.normal(2, 1, n), 2.0, "mean", 40),
        (lambda rng, n: rng.gamma(4, 1, n), 4.0, "mean", 20),
        (lambda rng, n: rng.exponential(1, n), 1.0, "mean", 30),
        (lambda rng, n: rng.normal(0, 1, n), 0.79788, "size", 30),
        (lambda rng, n: rng.gamma(4, 1, n), 3.67206, "median", 5),
        (lambda rng, n: rng.gamma(4, 1, n), 3.67206, "median", 30),
        (lambda rng, n: rng.random(n) < 0.8, 0.8, "share", 46),
    ],
    ids=[
        *("normal-4", "gamma-4", "gamma-6", "normal-8", "normal-40", "gamma-20", "exponential-30"),
        *("size-30", "median-5", "median-30", "share-46"),
    ],
)
def test_estimate_interval_covers_the_truth_in_95_of_100_samples(draw, truth, reduction, count):
    rng = np.random.default_rng(2)
    found = (estimate(draw(rng, count).astype(float), reduction, resamples=400, seed=i) for i in range(1000))
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.92 <= covered <= 0.98  # 1000 samples: a standard error is .007
