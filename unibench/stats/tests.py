"""Paired tests: do two models differ on the same clips, and how sure is that after many tests?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unibench.records import Tally
from unibench.stats.bootstrap import (
    FEWEST_CLIPS,
    REPETITIONS,
    ROUNDING,
    STEP,
    WHOLE_STEP,
    Interval,
    Pool,
    Weights,
    intervals,
    pooler,
)

FEWEST_PAIRS = 6
"""Below this many common clips no paired test is made: its least p is 2 / 2**n, above 0.05."""


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


def compare(
    first: Sequence[Tally], second: Sequence[Tally], pool: Pool, *, additive: bool = True, seed: int = 0
) -> dict[str, Paired]:
    """Compare two models on the same clips, metric by metric.

    The interval is that of `bootstrap`, of the difference, with the same draws for both. For p the two models' tallies
    of a clip are swapped or not: all ways of doing so up to ten clips, else 2000 at random.

    Args:
        first: Tallies of one model, one a clip; at least one.
        second: Those of the other, of the same clips in the same order.
        pool: As for `bootstrap`.
        additive: As for `bootstrap`.
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
    one, other = (pooler(additive)(tallies, pool, names) for tallies in (first, second))
    spans: Sequence[Interval | None] = [None] * len(names)
    if n >= FEWEST_CLIPS:
        step = STEP if additive else WHOLE_STEP
        spans = intervals(lambda weights: one(weights) - other(weights), n, seed, step)
    chances = permutation(first, second, pool, additive=additive, seed=seed)
    return {
        name: Paired(float(scores[0][name]), float(scores[1][name]), interval, chances[name], n)
        for name, interval in zip(names, spans, strict=True)
    }


def permutation(
    first: Sequence[Tally], second: Sequence[Tally], pool: Pool, *, additive: bool = True, seed: int = 0
) -> dict[str, float | None]:
    """Find the p of `compare` alone: quicker, where thousands of pairs are tested.

    Args:
        first: As for `compare`.
        second: As for `compare`.
        pool: As for `bootstrap`.
        additive: As for `bootstrap`.
        seed: Of the swaps.

    Returns:
        Metric -> p; None below FEWEST_PAIRS clips, or where the metric is not defined after every swap.
    """
    names, n = list(pool(first)), len(first)
    if n < FEWEST_PAIRS:
        return dict.fromkeys(names)
    kept, either = _swaps(n, seed), pooler(additive)([*first, *second], pool, names)
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
