"""Video object segmentation: region similarity J and boundary accuracy F, as DAVIS defines them.

J is the intersection over union of two masks; F is the harmonic mean of the precision and recall of their
contours, matched within `TOLERANCE` of the image's diagonal. Per object: mean, recall (fraction of frames
above 0.5) and decay (mean of the first quarter of the frames less that of the last). The metrics of a set are
means over objects, not over clips. An object counts from the frame after the one in which the truth first has
it, which is given, to the frame before the last. Masks are compared as runs, one object of one frame at a time:
memory does not grow with the clip.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from unibench.errors import DataError, TrackerError
from unibench.geometry import masks as rle
from unibench.metrics.counts import Number, check_objects, scored_frames, total
from unibench.records import Labels, Rle, Truth

TOLERANCE = 0.008
"""Contours match within this fraction of the image's diagonal, rounded up to whole pixels."""
STATISTICS = ("mean", "recall", "decay")


def tally(truth: Truth, prediction: Sequence[Labels], *, drop_last: bool = True) -> dict[str, float]:
    """Score one clip.

    Args:
        truth: Ids and masks of each frame.
        prediction: The same; an object without a mask counts as an empty mask.
        drop_last: Leave the last scored frame out too, as DAVIS does.

    Returns:
        `J-mean` .. `F-decay`: sums over objects of per-object values; `objects`: their number.

    Raises:
        TrackerError: The number of frames is wrong, an id is doubled or no object's, or a mask has another
            size.
        DataError: No frame or no object is left to score.

    Reference:
        Perazzi et al.: A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR
        2016, section 4; Pont-Tuset et al.: The 2017 DAVIS Challenge, section 3. The 2017 evaluation code
        takes the bounds of the quarters modulo 256, so its decay is NaN for clips of 256 frames or more; here
        it is defined.
    """
    frames = scored_frames(truth, prediction)
    kept = frames[1:-1] if drop_last else frames[1:]
    if not kept:
        raise DataError(
            f"vos: {len(frames)} scored frames, expected {3 if drop_last else 2} or more; use a longer clip"
        )
    given: dict[int, int] = {}
    for t in frames:
        for identity in truth.labels[t].ids.tolist():
            given.setdefault(identity, t)
    curves: dict[int, list[tuple[float, float]]] = {name: [] for name, t in given.items() if t < kept[-1]}
    if not curves:
        raise DataError(
            f"vos: no object before frame {kept[-1]}, expected one or more; check the clip's truth"
        )
    for t in kept:
        for identity, pair in _score_frame(truth.labels[t], prediction[t], t, given).items():
            curves[identity].append(pair)
    sums = {"objects": float(len(curves))}
    for place, letter in enumerate("JF"):
        statistics = [_statistics(np.array(curve)[:, place]) for curve in curves.values()]
        for name, of_objects in zip(STATISTICS, zip(*statistics, strict=True), strict=True):
            sums[f"{letter}-{name}"] = float(sum(of_objects))
    return sums


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Mean over objects: J&F, and mean, recall and decay of J and of F; 0 to 1, decay -1 to 1."""
    sums = total(tallies)
    scores = {
        f"{letter}-{name}": sums[f"{letter}-{name}"] / sums["objects"]
        for letter in "JF"
        for name in STATISTICS
    }
    return {"J&F": (scores["J-mean"] + scores["F-mean"]) / 2, **scores}


def boundary_f(true: Rle, predicted: Rle) -> float:
    """F of two masks of one size: 1 if neither has a contour, 0 if one has none.

    The contour is the set of pixels that differ from their right, lower or lower right neighbour. It is read
    off the runs, so the cost grows with the length of the contours, not with the frame.

    Reference:
        Martin, Fowlkes, Malik: Learning to Detect Natural Image Boundaries, PAMI 2004; davis2017-evaluation,
        metrics.py, f_measure.
    """
    height, width = true["size"]
    tolerance = math.ceil(TOLERANCE * math.hypot(height, width))
    contours = [_contour(mask) for mask in (true, predicted)]
    if not all(map(len, contours)):
        return float(len(contours[0]) == len(contours[1]))
    # With columns that far apart, what is near in the count of pixels is near in the frame.
    column = height + tolerance
    true_points, points = (contour + contour // height * tolerance for contour in contours)
    recall = _near(true_points, points, column, tolerance)
    precision = _near(points, true_points, column, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _score_frame(
    true: Labels, predicted: Labels, frame: int, given: Mapping[int, int]
) -> dict[int, tuple[float, float]]:
    """J and F of every object that was given (its id -> its first frame) before this frame."""
    check_objects(predicted, frame, len(predicted.masks))
    true_masks = dict(zip(true.ids.tolist(), true.masks, strict=True))
    predicted_masks = dict(zip(predicted.ids.tolist(), predicted.masks, strict=True))
    known = [name for name, first in given.items() if first <= frame]
    if strange := sorted(set(predicted_masks) - set(known)):
        raise TrackerError(
            f"prediction: frame {frame} has id {strange[0]}, expected ids of {known}; keep to them"
        )
    return {
        name: _score_pair(true_masks.get(name), predicted_masks.get(name), frame)
        for name in known
        if given[name] < frame
    }


def _score_pair(true: Rle | None, predicted: Rle | None, frame: int) -> tuple[float, float]:
    masks = [mask for mask in (true, predicted) if mask is not None and rle.area(mask)]
    if not masks:
        return 1.0, 1.0
    if len(masks) == 1:
        return 0.0, float(not len(_contour(masks[0])))
    if masks[0]["size"] != masks[1]["size"]:
        raise TrackerError(
            f"prediction: frame {frame} has a mask of {masks[1]['size']}, expected {masks[0]['size']}; "
            "give masks at the frame's own size"
        )
    return float(rle.iou(masks[:1], masks[1:])[0, 0]), boundary_f(masks[0], masks[1])


def _contour(mask: Rle) -> Int[np.ndarray, " point"]:
    """Pixels of the contour, counted down the columns, sorted; beyond the frame all is as at its edge."""
    height, width = mask["size"]
    flips = rle.flips(mask)
    lower = _unlike(flips, 1, height * width)
    lower = lower[lower % height != height - 1]  # the next pixel is the top of the next column
    right = _unlike(flips, height, height * width)
    # If a pixel is like its right and its lower neighbour, the lower right one differs from the right one or not.
    lower_right = lower[lower >= height] - height
    points = np.sort(np.concatenate([lower, right, lower_right]))
    return points[np.diff(points, prepend=-1) > 0]


def _unlike(flips: Int[np.ndarray, " flip"], step: int, pixels: int) -> Int[np.ndarray, " pixel"]:
    """The pixels that differ from the one `step` further on: where the mask, shifted, is on and the mask off or so."""
    bounds = np.sort(np.concatenate([flips, flips - step])).clip(0, pixels - step)
    first, after = bounds[::2], bounds[1::2]
    lengths = after - first
    return np.repeat(first - lengths.cumsum() + lengths, lengths) + np.arange(lengths.sum())


def _near(
    points: Int[np.ndarray, " point"], others: Int[np.ndarray, " other"], column: int, tolerance: int
) -> float:
    """Fraction of the points that have another within the tolerance, as if dilated by a Euclidean disk.

    Args:
        points: Sorted pixels, counted down columns that are more than the tolerance apart.
        others: The same.
        column: From a pixel to the next one in its row.
        tolerance: Pixels.
    """
    ends = np.append(others, np.iinfo(others.dtype).max)
    alone = points
    for columns in sorted(range(-tolerance, tolerance + 1), key=abs):
        reach = math.isqrt(tolerance**2 - columns**2)
        first = alone + (columns * column - reach)
        alone = alone[ends[np.searchsorted(others, first)] > first + 2 * reach]
        if not len(alone):
            break
    return (len(points) - len(alone)) / len(points)


def _statistics(curve: Float[np.ndarray, " frame"]) -> tuple[float, float, float]:
    bounds = np.round(np.linspace(1, len(curve), 5) + 1e-10).astype(int) - 1
    first, last = (curve[bounds[quarter] : bounds[quarter + 1] + 1] for quarter in (0, 3))
    return float(curve.mean()), float((curve > 0.5).mean()), float(first.mean() - last.mean())
