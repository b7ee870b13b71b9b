"""Known scores of detection."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unibench.metrics.detection import ORDER
from unibench.records import Labels, Tally, Truth
from unibench.tasks.known_answers import Answers, Case, Expected, nothing

_ANY_SIZE = ("AP", "AP50", "AP75", "AR100")
"""Metrics that are defined wherever there is an object."""


def _count(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    return {"objects": float(sum(len(labels.boxes) for labels in truth.labels))}


def _with_scores(truth: Truth) -> list[Labels]:
    """The truth as a prediction that is sure of every box."""
    return [replace(labels, scores=np.ones(len(labels.boxes))) for labels in truth.labels]


def _other_classes(truth: Truth) -> list[Labels]:
    """The truth's boxes, every one under a class that the truth never has."""
    alien = 1 + max((int(name) for labels in truth.labels for name in labels.classes), default=0)
    return [replace(labels, classes=np.full(len(labels.boxes), alien)) for labels in _with_scores(truth)]


def _everywhere(value: float) -> Expected:
    return {**dict.fromkeys(ORDER), **dict.fromkeys(_ANY_SIZE, value)}


KNOWN_ANSWERS = Answers(
    _count,
    (
        Case("truth", _with_scores, lambda _: _everywhere(1.0)),
        Case("empty", nothing, lambda _: _everywhere(0.0)),
        Case("other classes", _other_classes, lambda _: _everywhere(0.0)),
    ),
    (
        "scores by size are not defined where the truth has no object of the size; recall with 1 and 10 detections "
        "depends on how many objects an image has",
    ),
)
