"""Statistics over a board: how one column of scores goes with another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEWEST_MODELS = 5
"""Below this many models no correlation is given: with four, chance alone gives |r| > 0.9 one time in ten."""


@dataclass(frozen=True)
class Correlation:
    """How two columns of scores go together; None where that is not defined."""

    pearson: float | None
    """Linear correlation, -1 to 1."""
    spearman: float | None
    """Rank correlation, -1 to 1."""
    n: int
    """Number of models that have both scores."""


def correlate(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Correlate two columns of scores; models that lack either (NaN) are left out.

    Args:
        x: One score per model.
        y: Another score of the same models, in the same order.

    Returns:
        Both coefficients; None below five models or where a column is constant.

    Raises:
        ValueError: The columns differ in length.

    Reference:
        UniTrack (NeurIPS 2021), Figure 6.
    """
    if len(x) != len(y):
        raise ValueError(f"correlate: {len(x)} and {len(y)} scores, expected equally many; pair them")
    pairs = np.array([pair for pair in zip(x, y, strict=True) if all(map(math.isfinite, pair))])
    n = len(pairs)
    if n < FEWEST_MODELS or any(np.allclose(column, column[0], rtol=1e-12, atol=0) for column in pairs.T):
        return Correlation(None, None, n)
    first, second = pairs.T
    pearson = stats.pearsonr(first, second).statistic
    spearman = stats.spearmanr(first, second).statistic
    return Correlation(float(pearson), float(spearman), n)
