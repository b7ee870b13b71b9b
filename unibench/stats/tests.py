"""Statistics: how sure a pooled score is, whether two models differ, how one column of scores goes with another."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy import stats

from unibench.records import Tally
from unibench.stats.bootstrap import REPETITIONS, ROUNDING, Interval, Pool, Weights, intervals, row_pooler

__all__ = [
    "Correlation",
    "Interval",
    "Paired",
    "Pool",
    "bootstrap",
    "compare",
    "correlate",
    "holm",
    "permutation",
]

PERMUTATIONS = 9999
"""Number of permutations of a correlation's test; all of them where there are fewer."""
FEWEST_CLIPS = 20
"""Below this many clips no interval is given: of skewed scores (one clip in seven fails), simulated 95 % intervals of
15 clips hold the truth in 91 % of cases, those of 20 in 95 %."""
FEWEST_PAIRS = 6
"""Below this many common clips no paired test is made: its least p is 2 / 2**n, above 0.05."""
FEWEST_MODELS = 5
"""Below this many models no correlation is given: with four, chance alone gives |r| > 0.9 one time in ten."""
METHOD: Mapping[str, str | int | float] = {
    "interval": "studentized bootstrap over clips", "level": 0.95, "repetitions": REPETITIONS, "seed": 0,
    "fewest_clips": FEWEST_CLIPS,
}  # fmt: skip
"""How `bootstrap` finds its intervals, as a record beside the results."""

_Pairs = Float[np.ndarray, "model 2"]


@dataclass(frozen=True)
class Paired:
    """One metric of two models on the same clips."""

    first: float
    second: float
    interval: Interval | None
    """95 % interval of first - second; None where `bootstrap` gives none."""
    p: float | None
    """Of a difference at least this large, in either direction, if it were chance which model gave which tally of a
    clip; None: too few clips, or not defined."""
    clips: int


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
    """95 %; None also where the coefficient is 1 or -1: so few points cannot say how sure that is."""
    spearman_interval: Interval | None = None
    pearson_p: float | None = None
    """Of a coefficient at least this far from 0, in either direction, if the scores were paired by chance."""
    spearman_p: float | None = None
    pearson_range: Interval | None = None
    """Least and greatest coefficient when one model is left out."""
    spearman_range: Interval | None = None


def bootstrap(tallies: Sequence[Tally], pool: Pool, *, seed: int = 0) -> dict[str, Interval | None]:
    """Find the 95 % interval over clips of every pooled metric, by the studentized bootstrap.

    Clips are drawn with replacement, and each draw is pooled. A count (IDSW, FP) is the sum over so many clips.

    Args:
        tallies: One a clip; at least one.
        pool: From tallies to scores, as `Scoring.pool`; depends on nothing but the sum of the tallies, and pools arrays
            of sums at once.
        seed: Of the draws.

    Returns:
        Metric -> interval; None where there are fewer than FEWEST_CLIPS clips, too few that differ from the rest
        (all perfect, or all but two), so that it would even leave the range of the metric, or draws for which the
        metric is not defined.

    Reference:
        See `unibench.stats.bootstrap`.
    """
    names, n = list(pool(tallies)), len(tallies)
    if n < FEWEST_CLIPS:
        return dict.fromkeys(names)
    pool_rows = row_pooler(tallies, pool, names)
    alone = pool_rows(np.vstack([np.eye(n), np.ones(n)]))  # and all together
    found = zip(intervals(pool_rows, n, seed), alone.T, strict=True)
    shown = (one if one and _is_possible(one, values) else None for one, values in found)
    return dict(zip(names, shown, strict=True))


def compare(
    first: Sequence[Tally], second: Sequence[Tally], pool: Pool, *, seed: int = 0
) -> dict[str, Paired]:
    """Compare two models on the same clips, metric by metric.

    The interval is that of `bootstrap`, of the difference, with the same draws for both. For p the two models' tallies
    of a clip are swapped or not: all ways of doing so up to ten clips, else 2000 at random.

    Args:
        first: Tallies of one model, one a clip; at least one.
        second: Those of the other, of the same clips in the same order.
        pool: As for `bootstrap`.
        seed: Of the draws and the swaps.

    Returns:
        Metric -> both scores, the interval of their difference, p.

    Raises:
        ValueError: The models differ in the number of clips.

    Reference:
        Phipson, Smyth: Permutation P-values Should Never Be Zero, 2010 (the unswapped clips count as one swap).
    """
    if len(first) != len(second):
        raise ValueError(f"compare: {len(first)} and {len(second)} clips, expected the same; pair them")
    n, scores = len(first), [pool(first), pool(second)]
    names = list(scores[0])
    one, other = (row_pooler(tallies, pool, names) for tallies in (first, second))
    spans: Sequence[Interval | None] = [None] * len(names)
    if n >= FEWEST_CLIPS:
        spans = intervals(lambda weights: one(weights) - other(weights), n, seed)
    chances = permutation(first, second, pool, seed=seed)
    return {
        name: Paired(float(scores[0][name]), float(scores[1][name]), interval, chances[name], n)
        for name, interval in zip(names, spans, strict=True)
    }


def permutation(
    first: Sequence[Tally], second: Sequence[Tally], pool: Pool, *, seed: int = 0
) -> dict[str, float | None]:
    """Find the p of `compare` alone: quicker, where thousands of pairs are tested.

    Args:
        first: As for `compare`.
        second: As for `compare`.
        pool: As for `bootstrap`.
        seed: Of the swaps.

    Returns:
        Metric -> p; None below FEWEST_PAIRS clips, or where the metric is not defined after every swap.
    """
    names, n = list(pool(first)), len(first)
    if n < FEWEST_PAIRS:
        return dict.fromkeys(names)
    kept, either = _swaps(n, seed), row_pooler([*first, *second], pool, names)
    swapped = either(np.hstack([kept, 1 - kept])) - either(np.hstack([1 - kept, kept]))
    return {name: _chance(column) for name, column in zip(names, swapped.T, strict=True)}


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust the p-values of one family of tests: below 0.05, the chance of any false alarm among them is below 0.05.

    Args:
        p: One a test; None (not tested) takes no part.

    Returns:
        Adjusted p-values in the same order, never above 1.

    Reference:
        Holm: A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        adjusted[place] = largest
    return adjusted


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


def _is_possible(interval: Interval, values: Float[np.ndarray, " row"]) -> bool:
    """Whether an interval of a fraction keeps within 0 to 1, of a count above 0; which it is, its values tell."""
    below, above = interval.low < 0 <= np.nanmin(values), interval.high > 1 >= np.nanmax(values)
    return not (below or above)


def _swaps(n: int, seed: int) -> Weights:
    """1: the models keep their tallies of a clip, 0: they swap them. In the first row they keep all."""
    if 2**n <= REPETITIONS:
        return 1.0 - (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    random = np.random.default_rng(seed).integers(0, 2, size=(REPETITIONS, n))
    return np.vstack([np.ones(n), random])


def _chance(differences: Float[np.ndarray, " row"]) -> float | None:
    """How often a difference is at least as large as the first."""
    if not np.isfinite(differences).all():
        return None
    size = np.abs(differences)
    return float((size >= size[0] - ROUNDING * max(1.0, size[0])).mean())


def _test(pairs: _Pairs, seed: int) -> tuple[float, float]:
    """The linear correlation and its permutation p."""
    method = stats.PermutationMethod(n_resamples=PERMUTATIONS, rng=np.random.default_rng(seed))
    found = stats.pearsonr(*pairs.T, method=method)
    return float(found.statistic), float(found.pvalue)


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
