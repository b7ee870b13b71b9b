"""The studentized bootstrap of anything that is pooled from tallies.

Clips are what a benchmark drew at random, so clips are what is drawn again here: their tallies are added with new
weights and pooled anew, because HOTA or IDF1 of a set is no mean over its clips. How far a draw is off is measured in
the draw's own standard error, because where scores are skewed a draw that is far off is often one that looks too sure
of itself; plain percentiles of the draws are too short.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from unibench.errors import UnibenchError
from unibench.records import Tally

REPETITIONS = 2000
"""Number of draws."""
FEWEST_CLIPS = 20
"""Below this many clips no interval is given.

Of skewed scores (one clip in seven fails), simulated 95 % intervals of 15 clips hold the truth in 91 % of cases, those
of 20 in 95 %. Where clips differ much in size and the large ones are harder, no method knows the large ones that were
not drawn: with sizes whose logarithms deviate by 0.9, intervals hold the truth in 89 % of cases with 20 clips and in
93 % with 60; logit-transformed intervals hold it no more often with 20 (89 %).
"""
METHOD: Mapping[str, str | int | float] = {
    "interval": "studentized bootstrap over clips", "level": 0.95, "repetitions": REPETITIONS, "seed": 0,
    "fewest_clips": FEWEST_CLIPS,
}  # fmt: skip
"""How `bootstrap` finds its intervals, as a record beside the results."""
ROUNDING = 1e-9
"""Differences below this, relative where values are above 1, are rounding."""
STEP = 0.01
"""By this a clip's weight is changed to see what the clip does to sums; scores are smooth in it."""
WHOLE_STEP = 1.0
"""The same where lists are pooled: the clip stands in the list once more."""

Pool = Callable[[Sequence[Tally]], Mapping[str, float]]
Weights = Float[np.ndarray, "row clip"]
Values = Float[np.ndarray, "row metric"]
PoolRows = Callable[[Weights], Values]


@dataclass(frozen=True)
class Interval:
    """Where a number lies: a 95 % interval, or a range."""

    low: float
    high: float


def bootstrap(
    tallies: Sequence[Tally], pool: Pool, *, additive: bool = True, seed: int = 0
) -> dict[str, Interval | None]:
    """Find the 95 % interval over clips of every pooled metric.

    Clips are drawn with replacement, and each draw is pooled. A count (IDSW, FP) is the sum over so many clips.

    Args:
        tallies: One a clip; at least one.
        pool: From tallies to scores, as `Scoring.pool`.
        additive: Whether `pool` depends on nothing but the sum of the tallies, and pools arrays of sums at once. If
            not, it is called for each draw, and for each pair of clips: with n clips 2000 + n * n / 2 times or so.
        seed: Of the draws.

    Returns:
        Metric -> interval; None where there are fewer than FEWEST_CLIPS clips, too few that differ from the rest
        (all perfect, or all but two), so that it would even leave the range of the metric, or draws for which the
        metric is not defined.

    Reference:
        See `intervals`.
    """
    names, n = list(pool(tallies)), len(tallies)
    if n < FEWEST_CLIPS:
        return dict.fromkeys(names)
    pool_rows, step = pooler(additive)(tallies, pool, names), STEP if additive else WHOLE_STEP
    alone = pool_rows(np.vstack([np.eye(n), np.ones(n)]))  # and all together
    found = zip(intervals(pool_rows, n, seed, step), alone.T, strict=True)
    shown = (one if one and _is_possible(one, values) else None for one, values in found)
    return dict(zip(names, shown, strict=True))


def row_pooler(tallies: Sequence[Tally], pool: Pool, names: Sequence[str]) -> PoolRows:
    """Make what pools weighted sums of tallies.

    Args:
        tallies: One a clip; at least one.
        pool: From tallies to scores; depends on nothing but the sum of the tallies, and pools arrays of sums at once.
        names: Metrics, in the order of the values.

    Returns:
        From weights of the clips to one row of values a row of weights; NaN where a metric is not defined.
    """
    keys = list(dict.fromkeys(key for tally in tallies for key in tally))
    table = np.array([[tally.get(key, 0.0) for key in keys] for tally in tallies])

    def pool_rows(weights: Weights) -> Values:
        sums: dict[str, Any] = dict(zip(keys, table.T @ weights.T, strict=True))
        values = np.full((len(weights), len(names)), np.nan)
        with (
            np.errstate(divide="ignore", invalid="ignore"),
            suppress(UnibenchError),
        ):  # nothing to score in any row
            scores = pool([sums])
            for column, name in enumerate(names):
                values[:, column] = scores[name]
        return np.where(np.isfinite(values), values, np.nan)

    return pool_rows


def list_pooler(tallies: Sequence[Tally], pool: Pool, names: Sequence[str]) -> PoolRows:
    """Make what pools lists of tallies, in which each clip stands as often as its weight says.

    Args:
        tallies: One a clip; at least one.
        pool: From tallies to scores.
        names: Metrics, in the order of the values.

    Returns:
        As `row_pooler`; weights are whole numbers.
    """

    def pool_row(row: Float[np.ndarray, " clip"]) -> list[float]:
        chosen = [tally for tally, times in zip(tallies, row.astype(int), strict=True) for _ in range(times)]
        with suppress(UnibenchError):  # nothing to score
            scores = pool(chosen)
            return [scores[name] for name in names]
        return [math.nan] * len(names)

    return lambda weights: np.array([pool_row(row) for row in weights], dtype=np.float64)


def pooler(additive: bool) -> Callable[[Sequence[Tally], Pool, Sequence[str]], PoolRows]:
    """What pools draws of tallies: their weighted sums where scoring is additive, lists of them where it is not."""
    return row_pooler if additive else list_pooler


def intervals(pool_rows: PoolRows, n: int, seed: int, step: float = STEP) -> list[Interval | None]:
    """Find the studentized 95 % interval of every metric.

    Args:
        pool_rows: From weights of the clips to values, smooth in the weights.
        n: Number of clips.
        seed: Of the draws.
        step: By how much a clip's weight is changed to see what the clip does.

    Returns:
        One a metric; None where it is not defined in every draw, or where more than one draw in forty is off and holds
        nothing but clips that are alike: too few clips differ from the rest.

    Reference:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 12; Hesterberg: What Teachers Should Know
        About the Bootstrap, 2015.
    """
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=REPETITIONS)
    weights = draws.astype(np.float64)
    (here,), drawn = pool_rows(np.ones((1, n))), pool_rows(weights)
    errors = np.sqrt((n - 1) * pool_rows(1 - np.eye(n)).var(axis=0))  # jackknife
    slopes, curves = _derivatives(pool_rows, n, step)
    return [
        _studentized(value, error, off, _draw_errors(weights, slope, curve))
        for value, error, off, slope, curve in zip(
            here.tolist(), errors.tolist(), (drawn - here).T, slopes, curves, strict=True
        )
    ]


def _is_possible(interval: Interval, values: Float[np.ndarray, " row"]) -> bool:
    """Whether an interval of a fraction keeps within 0 to 1, of a count above 0; which it is, its values tell."""
    below, above = interval.low < 0 <= np.nanmin(values), interval.high > 1 >= np.nanmax(values)
    return not (below or above)


def _derivatives(
    pool_rows: PoolRows, n: int, step: float
) -> tuple[Float[np.ndarray, "metric clip"], Float[np.ndarray, "metric clip clip"]]:
    """How every metric changes with the weight of a clip, and how that changes with the weight of another."""
    one_more, (rows, columns) = step * np.eye(n), np.tril_indices(n)
    here = pool_rows(np.ones((1, n)))
    one = pool_rows(1 + one_more) - here
    parts = np.array_split(
        np.arange(len(rows)), 1 + len(rows) // REPETITIONS
    )  # no more memory than the draws take
    two = (
        np.concatenate([pool_rows(1 + one_more[rows[part]] + one_more[columns[part]]) for part in parts])
        - here
    )
    curves = np.zeros((len(here.T), n, n))
    curves[:, rows, columns] = curves[:, columns, rows] = ((two - one[rows] - one[columns]) / step**2).T
    own = np.einsum("mii->mi", curves)
    return one.T / step - own * step / 2, curves


def _draw_errors(
    weights: Weights, slopes: Float[np.ndarray, " clip"], curves: Float[np.ndarray, "clip clip"]
) -> Float[np.ndarray, " row"]:
    """The standard error of every draw, from how far each of its clips pulls the metric there."""
    n = len(slopes)
    pulls = slopes + (weights - 1) @ curves
    pulls -= (weights * pulls).sum(axis=1, keepdims=True) / n
    errors: Float[np.ndarray, " row"] = np.sqrt(n / (n - 1) * (weights * pulls**2).sum(axis=1))
    return errors


def _studentized(
    value: float, error: float, off: Float[np.ndarray, " row"], draw_errors: Float[np.ndarray, " row"]
) -> Interval | None:
    """The interval of one metric, from how far every draw is off and from its standard error."""
    rounding = ROUNDING * max(1.0, abs(value))
    if not (np.isfinite(off).all() and np.isfinite(draw_errors).all() and rounding < error < math.inf):
        return None
    limits = np.where(np.abs(off) > rounding, np.copysign(np.inf, off), 0.0)  # all clips drawn are alike
    ratios = np.sort(np.divide(off, draw_errors, out=limits, where=draw_errors > rounding))
    outside = len(ratios) // 40  # 2.5 % on each side
    ends = [float(value - error * ratio) for ratio in (ratios[-outside], ratios[outside - 1])]
    # Digits beyond the ninth are those of the linear algebra, which may sum in another order on another machine.
    return Interval(*(round(end, 9) for end in ends)) if all(map(math.isfinite, ends)) else None
