"""Predictions whose scores are known beforehand, counted from the truth alone: see `evaluation.self_check`.

No prediction here has to be matched: each row is the truth's row under some identity, or it is not there. So the
scores follow from counting, and the metrics can be held to them on any data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unibench.records import Labels, Tally, Truth

Expected = Mapping[str, float | None]
"""Metric -> its value; None where it cannot be counted by hand."""


def whole(truth: Truth) -> Truth:
    """The truth as it is."""
    return truth


def as_it_is(truth: Truth) -> list[Labels]:
    """The truth as a prediction."""
    return list(truth.labels)


def nothing(truth: Truth) -> list[Labels]:
    """A tracker that never says anything; every task allows it."""
    return [Labels()] * len(truth.labels)


@dataclass(frozen=True)
class Case:
    """A prediction with a known score."""

    name: str
    predict: Callable[[Truth], list[Labels]]
    expect: Callable[[Tally], Expected]
    """Counts, summed over clips -> every metric of the family."""
    part: Callable[[Truth], Truth] = whole
    """The part of a clip's truth on which the score can be counted; prediction and score are of this part."""


@dataclass(frozen=True)
class Answers:
    """What is known of one family of tasks."""

    count: Callable[[Truth, Sequence[Labels]], Tally]
    """A clip's truth and a case's prediction -> counts to sum over clips."""
    cases: tuple[Case, ...]
    notes: tuple[str, ...]
    """Why a value is not plainly 1 or 0: properties of benchmarks and metrics, one line each."""


def scored_frames(truth: Truth) -> list[int]:
    """Indices of the frames that are scored."""
    return list(range(len(truth.labels)) if truth.scored is None else truth.scored)
