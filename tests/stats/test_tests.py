import math

import numpy as np
import pytest
from scipy.stats import kstest

from unibench.errors import DataError
from unibench.stats.bootstrap import FEWEST_CLIPS, bootstrap
from unibench.stats.tests import Paired, compare, holm


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01, 2 x 0.03, and not below that
        ([0.04, None, 0.01], [0.04, None, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([None], [None]),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


def pool(tallies):
    good, everything = (sum(tally[key] for tally in tallies) for key in ("good", "all"))
    return {"score": good / everything}


def as_tallies(good, everything):
    return [{"good": float(a), "all": float(b)} for a, b in zip(good, everything, strict=True)]


def two_models(rng, clips, better=0.0):
    """Counts of two models on clips of different length and difficulty."""
    length = np.exp(0.4 * rng.normal(size=clips))
    chance = rng.beta(4, 2, clips)
    first, second = (length * np.clip(chance + rng.normal(0, 0.1, clips), 0, 1) for _ in range(2))
    return as_tallies(first + better * length, length), as_tallies(second, length)


def test_six_clips_that_all_agree_are_the_fewest_that_show_a_difference():
    first, second = as_tallies([0.9] * 6, [1.0] * 6), as_tallies([0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [1.0] * 6)
    found = compare(first, second, pool)["score"]
    assert (found.first, found.second) == pytest.approx((0.9, 0.55))
    assert (found.interval, found.p, found.clips) == (None, 2 / 64, 6)
    fewer = compare(first[:5], second[:5], pool)["score"]
    assert (fewer.interval, fewer.p, fewer.clips) == (None, None, 5)


def test_every_swap_counted_by_hand():
    # differences 1 1 1 1 1 1 -2: of 128 signs, sums of at least 4 in size
    first, second = as_tallies([1.0] * 6 + [0.0], [2.0] * 7), as_tallies([0.0] * 6 + [2.0], [2.0] * 7)
    sums = [
        sum((1 if row >> bit & 1 else -1) * (2 if bit == 6 else 1) for bit in range(7)) for row in range(128)
    ]
    expected = np.mean([abs(one) >= 4 for one in sums])
    assert compare(first, second, pool)["score"].p == pytest.approx(expected)


def test_p_of_a_difference_is_uniform_where_there_is_none():
    rng = np.random.default_rng(4)
    found = [compare(*two_models(rng, 12), pool)["score"].p for _ in range(500)]
    assert kstest(found, "uniform").pvalue > 0.05


def test_a_difference_in_every_clip_is_found_where_the_models_intervals_overlap():
    first, second = two_models(np.random.default_rng(5), 30, better=0.15)
    found = compare(first, second, pool)["score"]
    apart = bootstrap(first, pool)["score"], bootstrap(second, pool)["score"]
    assert apart[0].low < apart[1].high
    assert found.p < 0.01
    assert found.interval is not None
    assert 0 < found.interval.low < found.first - found.second < found.interval.high
    assert found.clips == 30


@pytest.mark.slow
def test_95_of_100_intervals_hold_the_difference():
    rng, inside = np.random.default_rng(6), []
    for _ in range(500):
        span = compare(*two_models(rng, FEWEST_CLIPS, better=0.05), pool)["score"].interval
        inside.append(span.low <= 0.05 <= span.high)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_the_other_way_round_is_the_same_with_the_other_sign():
    first, second = two_models(np.random.default_rng(7), 24)
    one, other = compare(first, second, pool)["score"], compare(second, first, pool)["score"]
    assert (one.first, one.second, one.p) == (other.second, other.first, other.p)
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))


def test_a_model_and_itself_differ_in_nothing():
    first, _ = two_models(np.random.default_rng(7), 24)
    found = compare(first, first, pool)["score"]
    assert (found.first - found.second, found.p, found.interval) == (0, 1, None)


def test_a_metric_that_is_not_defined_after_some_swap_is_not_compared():
    def partly(tallies):
        good = sum(tally["good"] for tally in tallies)
        return {"score": np.where(good < 5, np.nan, 1.0)[()]}

    first, second = as_tallies([5.0] + [0.0] * 23, [1.0] * 24), as_tallies([0.0] * 23 + [5.0], [1.0] * 24)
    assert compare(first, second, partly)["score"] == Paired(1.0, 1.0, None, None, 24)
    assert compare(first, first, partly)["score"] == Paired(1.0, 1.0, None, 1.0, 24)


def test_clips_without_anything_to_score_are_not_compared():
    def none(tallies):
        if len(tallies) == 1:  # a weighted sum
            raise DataError("nothing to score")
        return {"score": math.nan}

    first, second = two_models(np.random.default_rng(7), 24)
    found = compare(first, second, none)["score"]
    assert (found.p, found.interval) == (None, None)


def test_clips_must_pair_up():
    first, second = two_models(np.random.default_rng(7), 6)
    with pytest.raises(ValueError, match="compare: 6 and 5 clips, expected the same; pair them"):
        compare(first, second[:5], pool)
