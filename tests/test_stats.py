import math

import numpy as np
import pytest

from unibench.stats import Correlation, correlate

# UniTrack's Figure 6, from the printed Table 1: better layer of the supervised and 15 self-supervised models.
TOP1 = [77.2, 59.5, 60.6, 61.5, 61.7, 67.6, 69.3, 71.1, 71.7, 71.8, 73.0, 74.3, 75.2, 75.3, 73.2, 68.7]
SOT_DCF = [62.0, 61.8, 62.2, 61.3, 61.2, 62.5, 61.3, 61.5, 61.7, 63.1, 61.2, 58.9, 61.2, 61.5, 60.5, 59.0]
VOS_J = [62.3, 62.6, 61.5, 60.4, 60.8, 61.2, 60.5, 61.2, 61.6, 60.2, 58.4, 58.8, 59.3, 59.4, 61.7, 62.3]
MOT_IDF1 = [75.6, 73.9, 74.1, 74.8, 73.4, 74.9, 75.6, 74.9, 75.7, 68.9, 73.4, 74.9, 75.1, 74.4, 74.5, 75.3]
MOTS_IDF1 = [69.4, 68.4, 70.6, 67.6, 67.4, 68.3, 67.6, 67.5, 69.1, 66.8, 66.7, 70.1, 67.7, 68.8, 68.7, 67.8]
POSE_IDF1 = [73.7, 73.9, 73.9, 73.3, 73.0, 73.5, 73.5, 73.7, 73.6, 72.9, 74.0, 73.8, 73.6, 73.6, 74.3, 73.9]


@pytest.mark.parametrize(
    ("column", "pearson", "spearman"),
    [
        (SOT_DCF, -0.17, -0.22),
        (VOS_J, -0.38, -0.36),
        (MOT_IDF1, 0.10, 0.26),
        (MOTS_IDF1, 0.01, 0.16),
        (POSE_IDF1, 0.18, 0.11),
    ],
)
def test_figure_6_of_the_paper_from_its_printed_table(column, pearson, spearman):
    found = correlate(TOP1, column)
    assert found.pearson == pytest.approx(pearson, abs=0.005)
    assert found.spearman == pytest.approx(spearman, abs=0.005)
    assert found.n == 16


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
