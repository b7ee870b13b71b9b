"""Known scores of point tracking."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unibench.metrics import points as metric
from unibench.metrics.points import NAMES, RASTER, THRESHOLDS, VOT
from unibench.records import Labels, Tally, Truth
from unibench.tasks.known_answers import Answers, Case, Expected, as_it_is, nothing, scored_frames

_MOVED = 3.0
"""Pixels of the raster."""


def _count(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    """Sums over clips of the share of points that are visible, and of clips."""
    ids = truth.labels[0].ids
    _, visible = metric.tracks(truth.labels, ids, "truth")
    counted = metric.evaluated(visible, truth.queries)
    counted &= np.isin(np.arange(len(truth.labels)), scored_frames(truth))
    if not counted.any():
        return {}
    share = float(visible[counted].mean())
    return {"clips": 1.0, "shown": float(share > 0), "visible": share}


def _expected(
    jaccard: Sequence[float], within: Sequence[float], occlusion: float, vot: float | None
) -> Expected:
    """Values of the five thresholds, of OA and of VOT's measure."""
    values = [float(np.mean(jaccard)), float(np.mean(within)), occlusion, *jaccard, *within]
    return {**dict(zip(NAMES, values, strict=True)), VOT: vot}


def _perfect(sums: Tally) -> Expected:
    return _expected([1.0] * 5, [1.0] * 5, 1.0, 1.0)


def _empty(sums: Tally) -> Expected:
    return _expected([0.0] * 5, [0.0] * 5, 1 - sums["visible"] / sums["clips"], 0.0)


def _always_visible(sums: Tally) -> Expected:
    share = sums["visible"] / sums["clips"]
    return _expected([share] * 5, [1.0] * 5, share, 1.0)


def _beside(sums: Tally) -> Expected:
    near = [float(limit > _MOVED) for limit in THRESHOLDS]
    return _expected(near, near, 1.0, None)


def _shown(truth: Truth) -> list[Labels]:
    """The truth, with every point visible in every frame."""
    return [_changed(labels, 0.0, np.ones(len(labels.ids))) for labels in truth.labels]


def _moved(truth: Truth) -> list[Labels]:
    """The truth, moved to the right."""
    assert truth.size is not None
    by = _MOVED * truth.size[1] / RASTER
    return [_changed(labels, by, labels.keypoints[:, 0, 2]) for labels in truth.labels]


def _changed(labels: Labels, by: float, visible: np.ndarray) -> Labels:
    keypoints = labels.keypoints.copy()
    keypoints[:, 0, 0] += by
    keypoints[:, 0, 2] = visible
    return replace(labels, keypoints=keypoints)


KNOWN_ANSWERS = Answers(
    _count,
    (
        Case("truth", as_it_is, _perfect),
        Case("empty", nothing, _empty),
        Case("always visible", _shown, _always_visible),
        Case("3 px beside", _moved, _beside),
    ),
    (
        "a point of which nothing is said is called occluded, so an empty prediction has OA where points are occluded",
        "vot:d_avg leaves out points of which nothing is said, and is 0 where nothing is said at all",
    ),
)
