"""What all metrics share: a prediction is checked against its truth, tallies are summed.

Whatever pools tallies works on numbers and, element by element, on arrays of them: statistics pool thousands of
weighted sums of the same clips at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from unibench.errors import DataError, TrackerError
from unibench.records import Labels, Truth

Number = TypeVar("Number", float, np.ndarray)
"""One sum, or an array of sums."""


def scored_frames(truth: Truth, prediction: Sequence[Labels]) -> list[int]:
    """Indices of the frames that count: `Truth.scored`, or all frames.

    Raises:
        TrackerError: The prediction does not have one entry for each frame of the truth.
    """
    if len(prediction) != len(truth.labels):
        raise TrackerError(
            f"prediction: {len(prediction)} frames, expected {len(truth.labels)}; yield the Labels of every frame"
        )
    return list(range(len(truth.labels)) if truth.scored is None else truth.scored)


def check_objects(labels: Labels, frame: int, objects: int) -> None:
    """Check one predicted frame: every object has one identity of its own.

    Args:
        labels: What a tracker says of the frame.
        frame: Index of the frame, for the message.
        objects: How many boxes, masks or poses it says there are.

    Raises:
        TrackerError: The number of ids is another, or an id occurs twice.
    """
    if len(labels.ids) != objects:
        raise TrackerError(
            f"prediction: frame {frame} has {len(labels.ids)} ids, expected {objects}; give each object one id"
        )
    ids, occurrences = np.unique(labels.ids, return_counts=True)
    if (occurrences > 1).any():
        raise TrackerError(
            f"prediction: frame {frame} has id {ids[occurrences > 1][0]} more than once; "
            "give the objects of a frame different ids"
        )


def total(tallies: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    """Sum tallies key by key; a key that a tally lacks counts as 0.

    Raises:
        DataError: There is no tally.
    """
    sums: dict[str, Number] = {}
    clips = 0
    for clips, tally in enumerate(tallies, start=1):  # noqa: B007
        for key, value in tally.items():
            sums[key] = sums[key] + value if key in sums else 0.0 + value
    if not clips:
        raise DataError("metrics: no clip to pool; score at least one clip")
    return sums


def section(sums: Mapping[str, Number], prefix: str) -> dict[str, Number]:
    """The entries whose key starts with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in sums.items() if key.startswith(prefix)}


def ratio(part: Any, whole: Any) -> Any:
    """Divide numbers or arrays; 0 where there is no whole."""
    none = np.equal(whole, 0)
    return np.where(none, 0.0, part / np.where(none, 1.0, whole))[()]  # [()]: a number stays a number


def mean_counted(values: Sequence[Any], counts: Sequence[Any]) -> Any:
    """Mean of the values (numbers or arrays) whose count is not 0; NaN where there is none."""
    counted = np.not_equal(counts, 0)
    return np.sum(values, axis=0, where=counted) / np.where(counted.any(axis=0), counted.sum(axis=0), np.nan)
