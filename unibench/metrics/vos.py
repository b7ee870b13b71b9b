"""Video object segmentation: region similarity J and boundary accuracy F, as DAVIS defines them.

J is the intersection over union of two masks; F is the harmonic mean of the precision and recall of their
contours, matched within `TOLERANCE` of the image's diagonal. Per object: mean, recall (fraction of frames
above 0.5) and decay (mean of the first quarter of the frames less that of the last). The metrics of a set are
means over objects, not over clips. An object counts from the frame after the one in which the truth first has
it, which is given, to the frame before the last. Masks are decoded one object of one frame at a time, so memory
does not grow with the clip.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from unibench import rle
from unibench.errors import DataError, TrackerError
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


def boundary_f(true: Bool[np.ndarray, "height width"], predicted: Bool[np.ndarray, "height width"]) -> float:
    """F of two masks: 1 if neither has a contour, 0 if one has none.

    The contour is the set of pixels that differ from their right, lower or lower right neighbour.

    Args:
        true: (height, width), True on the object.
        predicted: The same.

    Reference:
        Martin, Fowlkes, Malik: Learning to Detect Natural Image Boundaries, PAMI 2004; davis2017-evaluation,
        metrics.py, f_measure.
    """
    tolerance = int(np.ceil(TOLERANCE * np.hypot(*true.shape)))
    window = _window(true | predicted)
    contours = _contour(true[window]), _contour(predicted[window])
    if not all(map(len, contours)):
        return float(len(contours[0]) == len(contours[1]))
    recall, precision = _near(*contours, tolerance), _near(*contours[::-1], tolerance)
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
        alone = rle.decode(masks[0])
        return 0.0, boundary_f(alone, np.zeros_like(alone))
    if masks[0]["size"] != masks[1]["size"]:
        raise TrackerError(
            f"prediction: frame {frame} has a mask of {masks[1]['size']}, expected {masks[0]['size']}; "
            "give masks at the frame's own size"
        )
    return float(rle.iou(masks[:1], masks[1:])[0, 0]), boundary_f(rle.decode(masks[0]), rle.decode(masks[1]))


def _window(mask: Bool[np.ndarray, "height width"]) -> tuple[slice, slice]:
    """Where the mask is, and one pixel around that: the contour outside is empty."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(max(s[0] - 1, 0), s[-1] + 2) if len(s) else slice(1) for s in spans)
    return rows, columns


def _contour(mask: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "point 2"]:
    """Rows and columns of the contour; pixels beyond the frame equal those at its edge."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    edge = (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])
    return np.argwhere(edge)


def _near(points: Int[np.ndarray, "point 2"], others: Int[np.ndarray, "other 2"], tolerance: int) -> float:
    """Fraction of the points that have another within the tolerance, as if dilated by a Euclidean disk."""
    tree = KDTree(others, balanced_tree=False, compact_nodes=False)  # quicker to build, same answers
    distances, _ = tree.query(points, distance_upper_bound=tolerance + 0.5)
    return float(np.mean(distances <= tolerance))


def _statistics(curve: Float[np.ndarray, " frame"]) -> tuple[float, float, float]:
    bounds = np.round(np.linspace(1, len(curve), 5) + 1e-10).astype(int) - 1
    first, last = (curve[bounds[quarter] : bounds[quarter + 1] + 1] for quarter in (0, 3))
    return float(curve.mean()), float((curve > 0.5).mean()), float(first.mean() - last.mean())
