"""Known scores of SOT."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unibench.records import Labels, Tally, Truth
from unibench.tasks.known_answers import Answers, Case, Expected, as_it_is, nothing, scored_frames

BEST_AUC = 20 / 21
"""Of the overlaps 0, 0.05, .. 1 a perfect box exceeds all but the last."""


def _count_sot(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    frames = scored_frames(truth)
    valid = [frame for frame in frames if _has_box(truth.labels[frame])]
    later = [frame for frame in frames if frame > 0]
    return {
        "clips": 1.0, "valid": len(valid) / len(frames), "given": (0 in valid) / len(frames),
        "later": float(len(later)), "valid later": float(len(set(valid) & set(later))),
    }  # fmt: skip


def _has_box(labels: Labels) -> bool:
    return len(labels.boxes) > 0 and bool((labels.boxes[0, 2:] > labels.boxes[0, :2]).all())


def _sot(overlaps: str, centred: str, sums: Tally) -> Expected:
    """Scores where a share `overlaps` of the frames has the truth's box, and a share `centred` its centre."""
    later = sums["valid later"] / sums["later"] if overlaps == "valid" else 0.0
    overlap, centre = sums[overlaps] / sums["clips"], sums[centred] / sums["clips"]
    return {
        "AUC": BEST_AUC * overlap,
        "SR.5": overlap,
        "P@20": centre,
        "NormP": centre,
        **dict.fromkeys(("AO", "SR50", "SR75"), later),
    }


def _lost_boxes(truth: Truth) -> list[Labels]:
    return [replace(labels, boxes=np.full_like(labels.boxes, np.nan)) for labels in truth.labels]


def _points(truth: Truth) -> list[Labels]:
    """The truth's boxes shrunk to their centres."""
    centres = [(labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2 for labels in truth.labels]
    return [
        replace(labels, boxes=np.tile(centre, 2))
        for labels, centre in zip(truth.labels, centres, strict=True)
    ]


KNOWN_ANSWERS = Answers(
    _count_sot,
    (
        Case("truth", as_it_is, lambda sums: _sot("valid", "valid", sums)),
        Case("empty", nothing, lambda sums: _sot("given", "given", sums)),
        Case("lost (NaN)", _lost_boxes, lambda sums: _sot("given", "given", sums)),
        Case("points", _points, lambda sums: _sot("given", "valid", sums)),
    ),
    (
        "overlap 1 is never exceeded (the threshold is strict), so the best AUC is 20/21 = 0.952",
        "frame 0 is given and counts, so an empty prediction has 1 frame of each clip right; AO and SR leave it out",
        "a frame whose truth has no box with an area fails, whatever is predicted",
        "points: a box without an area overlaps nothing, but its centre may be right",
    ),
)
