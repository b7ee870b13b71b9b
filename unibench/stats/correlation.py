"""How one column of scores goes with another, over models."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy import stats

from unibench.stats.bootstrap import ROUNDING, Interval

PERMUTATIONS = 9999
"""Number of permutations of a test; all of them where there are fewer."""
FEWEST_MODELS = 5
"""Below this many models no correlation is given: with four, chance alone gives |r| > 0.9 one time in ten."""

_Pairs = Float[np.ndarray, "model 2"]


@dataclass(frozen=True)
class Correlation:
    """How two columns of scores go together; None where that is not defined."""

    pearson: float | None
    """Linear correlation, -1 to 1."""
    spearman: float | None
    """Rank correlation, -1 to 1."""
    n: int
    """Number of models that have both scores."""
    pearson_interval: Interval | None = None
    """95 %; None also where the coefficient is 1 or -1, for which the formula gives no width."""
    spearman_interval: Interval | None = None
    pearson_p: float | None = None
    """Of a coefficient at least this far from 0, in either direction, if the scores were paired by chance."""
    spearman_p: float | None = None
    pearson_range: Interval | None = None
    """Least and greatest coefficient when one model is left out."""
    spearman_range: Interval | None = None


def correlate(x: Sequence[float], y: Sequence[float], *, seed: int = 0) -> Correlation:
    """Correlate two columns of scores; models that lack either (NaN) are left out.

    The intervals are Fisher's and, for ranks, Bonett and Wright's; p is that of all permutations up to seven models,
    of PERMUTATIONS random ones beyond.

    Args:
        x: One score per model.
        y: Another score of the same models, in the same order.
        seed: Of the permutations.

    Returns:
        Both coefficients; None below FEWEST_MODELS models or where a column is constant.

    Raises:
        ValueError: The columns differ in length.

    Reference:
        UniTrack (NeurIPS 2021), Figure 6; Bonett, Wright: Sample Size Requirements for Estimating Pearson, Kendall and
        Spearman Correlations, 2000.
    """
    if len(x) != len(y):
        raise ValueError(f"correlate: {len(x)} and {len(y)} scores, expected equally many; pair them")
    pairs = np.array([pair for pair in zip(x, y, strict=True) if all(map(math.isfinite, pair))])
    n = len(pairs)
    if n < FEWEST_MODELS or any(map(_is_constant, pairs.T)):
        return Correlation(None, None, n)
    pearson, pearson_p = _test(pairs, seed)
    spearman, spearman_p = _test(stats.rankdata(pairs, axis=0), seed)
    return Correlation(
        pearson=pearson,
        spearman=spearman,
        n=n,
        pearson_interval=_fisher(pearson, 1 / (n - 3)),
        spearman_interval=_fisher(spearman, (1 + spearman**2 / 2) / (n - 3)),
        pearson_p=pearson_p,
        spearman_p=spearman_p,
        pearson_range=_leave_one_out(pairs, np.asarray),
        spearman_range=_leave_one_out(pairs, partial(stats.rankdata, axis=0)),
    )


def _test(pairs: _Pairs, seed: int) -> tuple[float, float]:
    """The linear correlation and its permutation p, in which coefficients that differ by rounding alone are equal."""
    one, other = stats.zscore(pairs, axis=0).T
    found = stats.permutation_test(
        (other,),
        lambda paired, axis: np.round((paired * one).mean(axis=axis) / ROUNDING),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(seed),
    )
    return float(stats.pearsonr(*pairs.T).statistic), float(found.pvalue)


def _fisher(value: float, variance: float) -> Interval | None:
    """A 95 % interval that is symmetric in the inverse hyperbolic tangent of the coefficient."""
    if abs(value) > 1 - ROUNDING:
        return None
    centre, reach = math.atanh(value), stats.norm.ppf(0.975) * math.sqrt(variance)
    return Interval(math.tanh(centre - reach), math.tanh(centre + reach))


def _leave_one_out(pairs: _Pairs, turn: Callable[[_Pairs], _Pairs]) -> Interval | None:
    """Range of the coefficient without any one model; scores are turned into what is correlated after that."""
    rest = [np.delete(pairs, model, axis=0) for model in range(len(pairs))]
    if any(_is_constant(column) for columns in rest for column in columns.T):
        return None
    values = [float(np.corrcoef(turn(columns).T)[0, 1]) for columns in rest]
    return Interval(min(values), max(values))


def _is_constant(column: Float[np.ndarray, " model"]) -> bool:
    return bool(np.allclose(column, column[0], rtol=1e-12, atol=0))
