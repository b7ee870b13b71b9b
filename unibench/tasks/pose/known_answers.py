"""Known scores of pose propagation."""

from dataclasses import replace

import numpy as np

from unibench.records import Labels, Truth
from unibench.tasks.known_answers import Answers, Case, Expected, as_it_is, nothing

PCK = tuple(f"PCK@0.{tenths}" for tenths in range(1, 6))


def _pck(value: float) -> Expected:
    return dict.fromkeys(PCK, value)


def _lost_joints(truth: Truth) -> list[Labels]:
    """The truth, with every joint lost in every second frame."""
    return [
        replace(labels, keypoints=np.full_like(labels.keypoints, np.nan)) if frame % 2 == 0 else labels
        for frame, labels in enumerate(truth.labels)
    ]


KNOWN_ANSWERS = Answers(
    lambda truth, prediction: {},
    (
        Case("truth", as_it_is, lambda _: _pck(1.0)),
        Case("empty", nothing, lambda _: _pck(0.0)),
        Case("half lost (NaN)", _lost_joints, lambda _: _pck(1.0)),
    ),
    ("a joint that is said to be lost (NaN or x < 0) does not count: the published rule",),
)
