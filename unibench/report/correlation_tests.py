"""What is correlated on a board, and whether it can be distinguished from 0."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from unibench.report.boards import OTHER_RUN, Board, headlines
from unibench.stats.correlation import Correlation, correlate
from unibench.stats.tests import holm

LEVEL = 0.05
"""A coefficient is distinguished from 0 where the adjusted p is below this."""


@dataclass(frozen=True)
class TestedCorrelation:
    """A correlation as one of a family of tests."""

    correlation: Correlation
    pearson_p: float | None
    """Adjusted over the family."""
    spearman_p: float | None

    @property
    def linear(self) -> bool:
        """Whether Pearson's r is distinguished from 0."""
        return self.pearson_p is not None and self.pearson_p < LEVEL

    @property
    def ranked(self) -> bool:
        """Whether Spearman's rho is distinguished from 0."""
        return self.spearman_p is not None and self.spearman_p < LEVEL


@dataclass(frozen=True, eq=False)
class BoardCorrelations:
    """All correlations of a board."""

    board: Board
    panels: list[TestedCorrelation]
    """One a setting: against ImageNet top-1."""
    pairs: dict[tuple[int, int], TestedCorrelation]
    """Of two settings, by their indices."""


def correlate_board(board: Board) -> BoardCorrelations:
    """Correlate every task with ImageNet top-1 and with every other task, each model with its better layer.

    Args:
        board: The table; models of another run than the published ones take no part.

    Returns:
        Correlations, with p-values adjusted after Holm over the tasks, and apart from these over the pairs of tasks.
    """
    rows = correlated(board)
    top1, columns = top1_of(board)[rows].tolist(), [column.tolist() for column in headlines(board)[rows].T]
    places = list(itertools.combinations(range(len(columns)), 2))
    pairs = _test([correlate(columns[x], columns[y]) for x, y in places])
    return BoardCorrelations(
        board, _test([correlate(top1, column) for column in columns]), dict(zip(places, pairs, strict=True))
    )


def _test(family: Sequence[Correlation]) -> list[TestedCorrelation]:
    linear, ranked = holm([one.pearson_p for one in family]), holm([one.spearman_p for one in family])
    return [TestedCorrelation(*one) for one in zip(family, linear, ranked, strict=True)]


def correlated(board: Board) -> Bool[np.ndarray, " model"]:
    """Which models take part in the coefficients."""
    return np.array([model.group != OTHER_RUN for model in board.models])


def top1_of(board: Board) -> Float[np.ndarray, " model"]:
    """ImageNet accuracy of every model as a fraction; NaN where it is not known."""
    known = [model.imagenet_top1 for model in board.models]
    return np.array([math.nan if value is None else value for value in known])
