"""What all metrics share: a prediction is checked against its truth, tallies are summed."""

from collections.abc import Iterable, Sequence

import numpy as np

from unibench.errors import DataError, TrackerError
from unibench.records import Labels, Tally, Truth


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


def total(tallies: Iterable[Tally]) -> dict[str, float]:
    """Sum tallies key by key; a key that a tally lacks counts as 0.

    Raises:
        DataError: There is no tally.
    """
    sums: dict[str, float] = {}
    clips = 0
    for clips, tally in enumerate(tallies, start=1):  # noqa: B007
        for key, value in tally.items():
            sums[key] = sums.get(key, 0.0) + value
    if not clips:
        raise DataError("metrics: no clip to pool; score at least one clip")
    return sums


def section(sums: Tally, prefix: str) -> dict[str, float]:
    """The entries whose key starts with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in sums.items() if key.startswith(prefix)}
