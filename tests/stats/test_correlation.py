import math

import numpy as np
import pytest
from scipy.stats import kstest

from unibench.stats import correlation as correlations
from unibench.stats.correlation import Correlation, correlate

# The VOS panel of UniTrack's Figure 6; tests/report/test_published.py holds all panels to the record.
TOP1 = [77.2, 59.5, 60.6, 61.5, 61.7, 67.6, 69.3, 71.1, 71.7, 71.8, 73.0, 74.3, 75.2, 75.3, 73.2, 68.7]
VOS_J = [62.3, 62.6, 61.5, 60.4, 60.8, 61.2, 60.5, 61.2, 61.6, 60.2, 58.4, 58.8, 59.3, 59.4, 61.7, 62.3]


def test_small_enough_to_do_by_hand():
    # deviations (-2 -1 0 1 2) and (-2 0 -1 1 2): 9 / 10, and ranks are the values themselves
    found = correlate([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 4.0, 5.0])
    assert found.pearson == pytest.approx(0.9)
    assert found.spearman == pytest.approx(0.9)


def test_ranks_ignore_the_shape_of_the_relation():
    x = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = correlate(x, [-math.exp(value) for value in x])
    assert found.spearman == pytest.approx(-1)
    assert found.pearson is not None
    assert -0.95 < found.pearson < -0.8


def test_below_five_models_nothing_is_claimed():
    assert correlate([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]) == Correlation(None, None, 4)
    assert correlate([], []) == Correlation(None, None, 0)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9])
def test_a_constant_column_has_no_correlation(level):
    varying = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert correlate([level] * 5, varying) == Correlation(None, None, 5)
    assert correlate(varying, [level] * 5) == Correlation(None, None, 5)


def test_models_that_lack_a_score_are_left_out():
    rng = np.random.default_rng(3)
    x, y = rng.random(8).tolist(), rng.random(8).tolist()
    holes = [*y[:6], math.nan, math.nan]
    assert correlate(x, holes) == correlate(x[:6], y[:6])


def test_columns_must_pair_up():
    with pytest.raises(ValueError, match="correlate: 2 and 1 scores, expected equally many"):
        correlate([1.0, 2.0], [1.0])


def test_sixteen_models_say_little():
    """With 16 models, r = -0.38 has a 95 % interval of -0.74 to +0.14."""
    found = correlate(TOP1, VOS_J)
    assert found.pearson_interval is not None
    assert (found.pearson_interval.low, found.pearson_interval.high) == pytest.approx(
        (-0.74, 0.14), abs=0.005
    )
    assert found.spearman_interval is not None
    assert found.spearman_interval.low < -0.36 < 0 < found.spearman_interval.high
    assert found.pearson_p == pytest.approx(0.14, abs=0.02)  # Student's t gives 0.143
    assert found.pearson_range is not None
    assert found.pearson_range.low < found.pearson < found.pearson_range.high


def test_every_permutation_of_five_models_counted_by_hand():
    # of 120, the order itself and 4 swaps of neighbours give r >= 0.9, and as many r <= -0.9
    found = correlate([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 4.0, 5.0])
    assert found.pearson_p == pytest.approx(10 / 120)
    assert found.spearman_p == pytest.approx(10 / 120)


def test_the_range_when_one_model_is_left_out():
    found = correlate([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 4.0, 5.0])
    without = [correlation([1, 2, 3, 4, 5], [1, 3, 2, 4, 5], leave=model) for model in range(5)]
    assert found.pearson_range is not None
    assert (found.pearson_range.low, found.pearson_range.high) == pytest.approx((min(without), max(without)))
    assert found.spearman_range is not None
    assert (found.spearman_range.low, found.spearman_range.high) == pytest.approx((0.8, 1))


def correlation(x, y, leave):
    return np.corrcoef(np.delete(x, leave), np.delete(y, leave))[0, 1]


def test_a_column_that_one_model_alone_makes_vary_has_no_range():
    found = correlate([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0, 2.0])
    assert found.pearson is not None
    assert found.pearson_range is None


def test_a_perfect_correlation_has_no_interval():
    found = correlate([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 8.0, 27.0, 64.0, 125.0])
    assert (found.spearman, found.spearman_interval) == (pytest.approx(1), None)
    assert found.pearson_interval is not None
    assert found.spearman_p == pytest.approx(2 / 120)


def test_the_same_seed_gives_the_same_p():
    assert correlate(TOP1, VOS_J) == correlate(TOP1, VOS_J, seed=0)
    assert correlate(TOP1, VOS_J).pearson_p != correlate(TOP1, VOS_J, seed=1).pearson_p


def draw_pairs(rho, models, repetitions, seed):
    rng = np.random.default_rng(seed)
    for _ in range(repetitions):
        x, noise = rng.normal(size=(2, models))
        yield x.tolist(), (rho * x + math.sqrt(1 - rho**2) * noise).tolist()


@pytest.mark.parametrize(("rho", "models"), [(0.0, 16), (0.6, 16), (0.6, 10)])
def test_95_of_100_intervals_hold_the_correlation(rho, models, monkeypatch):
    monkeypatch.setattr(correlations, "PERMUTATIONS", 9)  # not what is asked here
    found = [correlate(*pair) for pair in draw_pairs(rho, models, 500, seed=2)]
    ranked = 6 / math.pi * math.asin(rho / 2)
    for name, truth in (("pearson_interval", rho), ("spearman_interval", ranked)):
        spans = [getattr(one, name) for one in found]
        assert 0.93 <= np.mean([span.low <= truth <= span.high for span in spans]) <= 0.97


def test_p_of_a_correlation_is_uniform_where_there_is_none(monkeypatch):
    monkeypatch.setattr(correlations, "PERMUTATIONS", 999)
    found = [correlate(*pair) for pair in draw_pairs(0.0, 12, 500, seed=3)]
    for name in ("pearson_p", "spearman_p"):
        assert kstest([getattr(one, name) for one in found], "uniform").pvalue > 0.05


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1.0, 2.0, 2.0, 2.0, 1.0, 1.0], [4.0, 4.0, 4.0, 0.0, 3.0, 1.0]),
        ([2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 4.0], [4.0, 4.0, 1.0, 4.0, 2.0, 3.0, 3.0]),
    ],
)
def test_coefficients_that_differ_by_rounding_alone_count_as_equal(x: list[float], y: list[float]):
    plain = correlate(x, y)
    other = correlate([value / 3 + 0.1 for value in x], [value * 0.7 - 5 for value in y])
    assert plain.pearson == pytest.approx(0, abs=1e-12)
    assert plain.pearson_p == other.pearson_p == 1.0
