"""Point tracking: TAP-Vid's average Jaccard (AJ), position accuracy (delta_avg) and occlusion accuracy (OA).

Distances are pixels of a raster of 256 x 256, to which the frame is stretched; an error counts as small strictly below
a threshold of 1, 2, 4, 8 or 16. A point is asked for in one frame, which does not count. What is asked for first
(`Truth.queries` is None) counts in later frames, what is asked for again and again in all others. Counts are added over
the points of a clip and divided; the metrics of a set are means over clips.

VOT's `d_avg` is another number: it divides by size - 1 where TAP-Vid divides by the size, leaves out frames in which
nothing is said of a point, and weighs each point by its number of frames, so that it is a share of all frames of all
points of all clips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.errors import DataError, TrackerError
from unibench.metrics.counts import Number, ratio, scored_frames, section, total
from unibench.records import Labels, Truth

THRESHOLDS = (1, 2, 4, 8, 16)
RASTER = 256
"""Pixels of either side that distances are measured in."""
VOT = "vot:d_avg"


def tally(truth: Truth, prediction: Sequence[Labels]) -> dict[str, float]:
    """Score one clip.

    Args:
        truth: One keypoint for each point: x, y in pixels of the frame; the third value is above 0 where it is visible.
        prediction: The same, by id; a point of which nothing is said is not visible, and is nowhere.

    Returns:
        Each metric of the clip, where it is defined, and `clips/<metric>`, how many clips it is defined in: 1;
        `vot:<threshold>` and `vot:points`: counts.

    Raises:
        TrackerError: The number of frames is wrong, or an object has more than one keypoint.
        DataError: The size of the frames is not known.

    Reference:
        Doersch et al.: TAP-Vid: A Benchmark for Tracking Any Point in a Video, NeurIPS 2022, section 4.
    """
    if truth.size is None:
        raise DataError("points: frames of unknown size, expected height and width; give the truth its size")
    frames = scored_frames(truth, prediction)
    ids = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(one.ids for one in truth.labels)]))
    true, visible = tracks(truth.labels, ids, "truth")
    said, shown = tracks(prediction, ids, "prediction")
    counted = evaluated(visible, truth.queries)
    counted &= np.isin(np.arange(len(truth.labels)), frames)
    sides = np.array(truth.size[::-1], dtype=np.float64)
    found = scores(true * (RASTER / sides), visible, said * (RASTER / sides), shown, counted)
    sums = {name: float(value) for name, value in found.items() if np.isfinite(value)}
    sums |= {f"clips/{name}": 1.0 for name in sums}
    compared = counted & visible & np.isfinite(said).all(axis=2)
    distances = _distances(true, said, (RASTER - 1) / np.maximum(sides - 1, 1))
    sums |= {f"vot:{limit}": float((compared & (distances < limit)).sum()) for limit in THRESHOLDS}
    return {**sums, "vot:points": float(compared.sum())}


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Mean over the clips in which a metric is defined, 0 to 1; NaN where it is defined in none (VOT's: 0)."""
    sums = total(tallies)
    clips = section(sums, "clips/")
    pooled = {name: _divided(sums.get(name, 0.0), clips.get(name, 0.0)) for name in NAMES}
    right = sum(sums[f"vot:{limit}"] for limit in THRESHOLDS)
    return {**pooled, VOT: ratio(right, len(THRESHOLDS) * sums["vot:points"])}


NAMES = (
    "AJ",
    "delta_avg",
    "OA",
    *(f"jaccard_{limit}" for limit in THRESHOLDS),
    *(f"pts_within_{limit}" for limit in THRESHOLDS),
)
"""TAP-Vid's metrics, the headline first."""


def scores(
    true: Float[np.ndarray, "point frame 2"],
    visible: Bool[np.ndarray, "point frame"],
    said: Float[np.ndarray, "point frame 2"],
    shown: Bool[np.ndarray, "point frame"],
    counted: Bool[np.ndarray, "point frame"],
    *,
    by_point: bool = False,
) -> dict[str, Any]:
    """Compute TAP-Vid's metrics of one clip.

    Args:
        true: x, y in pixels of the raster.
        visible: Where a point is.
        said: The same of the prediction; NaN where nothing is said.
        shown: Where a point is said to be visible.
        counted: Frames that count.
        by_point: Score each point alone, not all together.

    Returns:
        `NAMES` -> value, or (point,) values; NaN where nothing is there to be counted.
    """
    axis = 1 if by_point else None

    def count(what: Bool[np.ndarray, "point frame"]) -> Any:
        return (what & counted).sum(axis=axis)

    distances, there = _distances(true, said, 1.0), count(visible)
    jaccard, within = {}, {}
    for limit in THRESHOLDS:
        near = visible & (distances < limit)
        within[limit] = _divided(count(near), there)
        false_alarms = count(shown & ~near)
        jaccard[limit] = _divided(count(near & shown), there + false_alarms)
    values = [np.mean(list(jaccard.values()), axis=0), np.mean(list(within.values()), axis=0)]
    values += [_divided(count(shown == visible), count(np.ones_like(visible)))]
    return dict(zip(NAMES, [*values, *jaccard.values(), *within.values()], strict=True))


def evaluated(
    visible: Bool[np.ndarray, "point frame"], queries: Int[np.ndarray, " point"] | None
) -> Bool[np.ndarray, "point frame"]:
    """Tell which frames of each point count.

    Args:
        visible: Of the truth.
        queries: Frame in which each point is asked for, and all others count; None: the first that shows it, and later
            ones count.

    Returns:
        (point, frame); a point that is never visible is not asked for.
    """
    frames = np.arange(visible.shape[1])[None]
    if queries is None:
        counted = frames > visible.argmax(axis=1, keepdims=True)
    else:
        counted = np.not_equal(frames, queries[:, None])
    found: Bool[np.ndarray, "point frame"] = np.logical_and(counted, visible.any(axis=1, keepdims=True))
    return found


def tracks(
    labels: Sequence[Labels], ids: Int[np.ndarray, " point"], what: str
) -> tuple[Float[np.ndarray, "point frame 2"], Bool[np.ndarray, "point frame"]]:
    """Gather points over frames.

    Args:
        labels: Of each frame; objects of other ids are passed over.
        ids: Ascending.
        what: Whose labels these are, for messages.

    Returns:
        (point, frame, 2) x, y in pixels, NaN where nothing is said; (point, frame) where the point is visible.

    Raises:
        TrackerError: An object has not one keypoint.
    """
    places = np.full((len(ids), len(labels), 2), np.nan)
    visible = np.zeros(places.shape[:2], dtype=bool)
    for frame, one in enumerate(labels):
        if not len(one.ids) or not len(ids):
            continue
        if one.keypoints.shape[:2] != (len(one.ids), 1):
            found = f"{one.keypoints.shape[0]} objects of {one.keypoints.shape[1]} keypoints for {len(one.ids)} ids"
            raise TrackerError(f"{what}: frame {frame} has {found}, expected 1 for each; give each point one")
        rows = np.searchsorted(ids, one.ids).clip(max=len(ids) - 1)
        known = ids[rows] == one.ids
        places[rows[known], frame] = one.keypoints[known, 0, :2]
        visible[rows[known], frame] = one.keypoints[known, 0, 2] > 0
    return places, visible


def _distances(
    true: Float[np.ndarray, "point frame 2"],
    said: Float[np.ndarray, "point frame 2"],
    scale: Float[np.ndarray, " 2"] | float,
) -> Float[np.ndarray, "point frame"]:
    """NaN, which is below no threshold, where either is."""
    return np.asarray(np.hypot(*np.moveaxis((said - true) * scale, 2, 0)))


def _divided(part: Any, whole: Any) -> Any:
    """Divide numbers or arrays; NaN where there is no whole."""
    none = np.equal(whole, 0)
    return np.where(none, np.nan, part / np.where(none, 1.0, whole))[()]  # [()]: a number stays a number
