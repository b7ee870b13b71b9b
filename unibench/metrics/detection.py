"""Detection as COCO scores it: average precision over IoU thresholds, classes and sizes.

pycocotools matches the detections of each image. Average precision is no ratio of sums: it needs the matches of all
images at once, so a tally holds them, and `pool` ranks them by score.
"""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.errors import DataError
from unibench.geometry import masks
from unibench.metrics.counts import scored_frames
from unibench.records import EXCUSED, Labels, Tally, Truth

ORDER = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The twelve numbers of COCO, in its order."""
THRESHOLDS = 10
"""IoU .50, .55, ..., .95."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read."""
SIZES = ("all", "small", "medium", "large")
MOST = (1, 10, 100)
"""Detections of a class that count in one image, the best ones."""
RECALL_KEYS = (*(("all", most) for most in MOST), *((size, MOST[-1]) for size in SIZES[1:]))
"""Size and number of detections of each average recall, as `ORDER` has them."""


@dataclass(frozen=True, eq=False)
class Annotated:
    """The truth of one image."""

    boxes: Float[np.ndarray, "object 4"]
    """xyxy, pixels."""
    classes: Int[np.ndarray, " object"]
    areas: Float[np.ndarray, " object"]
    """Square pixels: small is below 32 x 32, large from 96 x 96. COCO takes those of the masks."""
    crowd: Bool[np.ndarray, " _object"] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Regions in which detections of the class count neither way; empty: none is one."""


def tally(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    """Match the detections of one clip, frame by frame; ids are not read.

    Args:
        truth: Boxes of each frame, classes if there are several; sizes are those of the masks where there are masks.
            Detections on an `ignored` box of class EXCUSED count neither way, whatever their class.
        prediction: Boxes, scores and classes of each frame.

    Returns:
        As `match`.

    Raises:
        TrackerError: The number of frames is wrong.
        DataError: A detection has no score or no class, or a number is not finite.
    """
    of_frames = _by_frame(truth, prediction)
    return match(list(of_frames.values()), [prediction[frame] for frame in of_frames])


@dataclass(frozen=True)
class FrameCounts:
    """What was found in one frame, all classes together."""

    hits: int
    misses: int
    false_alarms: int


def best_scores(truth: Truth, prediction: Sequence[Labels]) -> dict[int, float]:
    """Find the score of each class from which on F1 at IoU .50 is highest over the clip.

    Args:
        truth: As for `tally`.
        prediction: As for `tally`.

    Returns:
        Class -> the lowest score that counts; infinity where nothing of it was detected.

    Raises:
        TrackerError, DataError: As `tally`.
    """
    of_frames = _match_frames(truth, prediction).values()
    classes = sorted({name for of_classes in of_frames for name in of_classes})
    return {
        name: _best_score([of_classes[name] for of_classes in of_frames if name in of_classes])
        for name in classes
    }


def count_frames(
    truth: Truth, prediction: Sequence[Labels], lowest: Mapping[int, float]
) -> dict[int, FrameCounts]:
    """Count frame by frame at IoU .50.

    Args:
        truth: As for `tally`.
        prediction: As for `tally`.
        lowest: Class -> the score from which on its detections count.

    Returns:
        Frame -> its counts, for the frames that are scored.

    Raises:
        TrackerError, DataError: As `tally`.
    """
    counts = {}
    for frame, of_classes in _match_frames(truth, prediction).items():
        hits = [one.hits[one.scores >= lowest[name]] for name, one in of_classes.items()]
        found = sum(int(one.sum()) for one in hits)
        objects = sum(one.objects for one in of_classes.values())
        counts[frame] = FrameCounts(found, objects - found, sum(map(len, hits)) - found)
    return counts


@dataclass(frozen=True, eq=False)
class _Matched:
    """The detections of one class in one frame that count."""

    scores: Float[np.ndarray, " detection"]
    hits: Bool[np.ndarray, " detection"]
    """At IoU .50."""
    objects: int

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> "_Matched":
        counted = ~_from_bits(entries["all/ignored"])[0]
        hits = _from_bits(entries["all/matched"])[0]
        return cls(entries["scores"][counted], hits[counted], int(entries["all/objects"]))


def _match_frames(truth: Truth, prediction: Sequence[Labels]) -> dict[int, dict[int, _Matched]]:
    """Frame -> class -> its detections, for the frames that are scored."""
    return {
        frame: {
            int(name): _Matched.of(entries)
            for name, entries in _classes(match([one], [prediction[frame]])).items()
        }
        for frame, one in _by_frame(truth, prediction).items()
    }


def _best_score(found: Sequence[_Matched]) -> float:
    """The score from which on F1 = 2 hits / (objects + detections) is highest; equal scores count together."""
    scores = np.concatenate([one.scores for one in found])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(np.concatenate([one.hits for one in found])[order])
    f1 = 2 * hits / (sum(one.objects for one in found) + np.arange(1, len(scores) + 1))
    last = np.append(np.diff(scores[order]) != 0, True)[: len(scores)]
    return float(scores[order][last][np.argmax(f1[last])]) if len(scores) else math.inf


def _by_frame(truth: Truth, prediction: Sequence[Labels]) -> dict[int, Annotated]:
    """The frames that are scored; a region excuses classes that this clip's truth does not have as well."""
    said = (*truth.labels, *prediction)
    known = sorted({int(name) for labels in said for name in labels.classes} or {0})
    return {frame: _annotated(truth, frame, known) for frame in scored_frames(truth, prediction)}


def match(truth: Sequence[Annotated], prediction: Sequence[Labels]) -> Tally:
    """Match detections with the truth at every IoU threshold, class by class.

    Args:
        truth: What is in each image.
        prediction: Boxes, scores and classes of each image, in the same order; the 100 best of a class count.

    Returns:
        For each class that is there, over its detections in all images: `<class>/scores`; `<class>/ranks`, from 0, in
        the own image; and for each of SIZES `<class>/<size>/matched` and `<class>/<size>/ignored`, whose bit t tells
        of threshold t, and `<class>/<size>/objects`, the number of true ones.

    Raises:
        DataError: A detection has no score or no class, or a number is not finite.

    Reference:
        Lin et al.: Microsoft COCO, arXiv 1405.0312; pycocotools.cocoeval.COCOeval.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [row for image, labels in enumerate(prediction, start=1) for row in _detections(image, labels)]
    annotations = [row for image, one in enumerate(truth, start=1) for row in _annotations(image, one)]
    classes = sorted({row["category_id"] for row in (*annotations, *rows)})
    if not classes:
        return {}
    with contextlib.redirect_stdout(io.StringIO()):
        known, predicted = COCO(), COCO()
        for table, entries in ((known, annotations), (predicted, rows)):
            table.dataset = {
                "images": [{"id": image} for image in range(1, len(truth) + 1)],
                "categories": [{"id": number} for number in classes],
                "annotations": [{**row, "id": number} for number, row in enumerate(entries, start=1)],
            }
            table.createIndex()
        evaluation = COCOeval(known, predicted, "bbox")
        evaluation.evaluate()
    of_images = np.array(evaluation.evalImgs, dtype=object).reshape(len(classes), len(SIZES), len(truth))
    found: dict[str, Any] = {}
    for name, of_class in zip(classes, of_images, strict=True):
        images = [one for one in of_class[0] if one is not None]
        found[f"{name}/scores"] = np.array(
            [score for one in images for score in one["dtScores"]], dtype=float
        )
        found[f"{name}/ranks"] = np.array(
            [rank for one in images for rank in range(len(one["dtIds"]))], dtype=float
        )
        for size, of_size in zip(SIZES, of_class, strict=True):
            there = [one for one in of_size if one is not None]
            found[f"{name}/{size}/objects"] = float(sum(np.sum(one["gtIgnore"] == 0) for one in there))
            for key, source in (("matched", "dtMatches"), ("ignored", "dtIgnore")):
                found[f"{name}/{size}/{key}"] = _as_bits([one[source] for one in there])
    return found


def pool(tallies: Sequence[Tally]) -> dict[str, float]:
    """Rank the detections of all clips by score, and read precision and recall off.

    Returns:
        `ORDER`: AP over IoU .50 to .95, at .50, at .75, of small, medium and large objects; average recall with 1, 10
        and 100 detections, and by size; fractions. NaN where the truth has no such object.

    Raises:
        DataError: There is no tally.
    """
    if not tallies:
        raise DataError("metrics: no clip to pool; score at least one clip")
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for one in tallies:
        for name, entries in _classes(one).items():
            by_class.setdefault(name, []).append(entries)
    found = [_rank(by_class[name]) for name in sorted(by_class, key=int)]
    precision = {size: [one.precision[size] for one in found if size in one.precision] for size in SIZES}
    recall = {key: _mean([one.recall[key] for one in found if key in one.recall]) for key in RECALL_KEYS}
    values = (
        _mean(precision["all"]),
        *(_mean([one[level] for one in precision["all"]]) for level in (0, 5)),
        *(_mean(precision[size]) for size in SIZES[1:]),
        *recall.values(),
    )
    return dict(zip(ORDER, values, strict=True))


def score(truth: Sequence[Annotated], prediction: Sequence[Labels]) -> dict[str, float]:
    """Score the detections of single images; arguments and errors are those of `match`, the result that of `pool`."""
    return pool([match(truth, prediction)])


@dataclass(frozen=True, eq=False)
class _Ranked:
    """What the metrics of one class are means of; sizes of which the truth has no object are not there."""

    precision: dict[str, Float[np.ndarray, "threshold level"]]
    recall: dict[tuple[str, int], Float[np.ndarray, " threshold"]]


def _rank(tallies: Sequence[Mapping[str, Any]]) -> _Ranked:
    """Rank the detections of one class in all clips by score; equal scores keep their order."""

    def together(key: str) -> np.ndarray:
        return np.concatenate([np.asarray(one[key], dtype=float) for one in tallies])

    order = np.argsort(-together("scores"), kind="stable")
    ranks = together("ranks")[order]
    found = _Ranked({}, {})
    for size in SIZES:
        objects = sum(one[f"{size}/objects"] for one in tallies)
        if not objects:
            continue
        hit, ignored = (_from_bits(together(f"{size}/{key}")[order]) for key in ("matched", "ignored"))
        right, wrong = hit & ~ignored, ~(hit | ignored)
        found.precision[size] = _precision_at_levels(right, wrong, objects)
        for key in RECALL_KEYS:
            if key[0] == size:
                found.recall[key] = right[:, ranks < key[1]].sum(axis=1) / objects
    return found


def _precision_at_levels(
    right: Bool[np.ndarray, "threshold detection"],
    wrong: Bool[np.ndarray, "threshold detection"],
    objects: float,
) -> Float[np.ndarray, "threshold level"]:
    """The best precision at each recall of RECALLS or beyond; 0 where recall does not come so far."""
    hits, alarms = (np.cumsum(one, axis=1, dtype=float) for one in (right, wrong))
    precision = hits / (hits + alarms + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded, recall = np.hstack([best, np.zeros((THRESHOLDS, 1))]), hits / objects
    return np.stack([padded[t, np.searchsorted(recall[t], RECALLS)] for t in range(THRESHOLDS)])


def _classes(tally: Tally) -> dict[str, dict[str, Any]]:
    """The entries of a tally class by class, without the class in their keys."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in tally.items():
        name, _, rest = key.partition("/")
        found.setdefault(name, {})[rest] = value
    return found


def _as_bits(images: Sequence[np.ndarray]) -> Float[np.ndarray, " detection"]:
    """What holds at which threshold, as the bits of one number for each detection."""
    table = np.hstack([np.zeros((THRESHOLDS, 0)), *images]) != 0
    bits: Float[np.ndarray, " detection"] = (table * 2.0 ** np.arange(THRESHOLDS)[:, None]).sum(axis=0)
    return bits


def _from_bits(numbers: Float[np.ndarray, " detection"]) -> Bool[np.ndarray, "threshold detection"]:
    found: Bool[np.ndarray, "threshold detection"] = (
        numbers.astype(np.int64) >> np.arange(THRESHOLDS)[:, None]
    ) % 2 == 1
    return found


def _mean(parts: Sequence[np.ndarray]) -> float:
    return float(np.mean(np.stack(parts, axis=-1))) if parts else math.nan


def _annotated(truth: Truth, frame: int, classes: Sequence[int]) -> Annotated:
    """One frame of a clip; a region that is ignored is a crowd of every class."""
    labels, ignored = truth.labels[frame], truth.ignored[frame] if truth.ignored else Labels()
    regions = ignored.boxes[ignored.classes == EXCUSED]
    boxes = np.concatenate([labels.boxes, np.repeat(regions, len(classes), axis=0)])
    named = labels.classes if len(labels.classes) else np.full(len(labels.boxes), classes[0])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    if labels.masks:
        areas[: len(labels.masks)] = [masks.area(mask) for mask in labels.masks]
    return Annotated(
        boxes=boxes,
        classes=np.concatenate([named, np.tile(np.array(classes, dtype=np.int64), len(regions))]),
        areas=areas,
        crowd=np.arange(len(boxes)) >= len(labels.boxes),
    )


def _annotations(image: int, one: Annotated) -> list[dict[str, Any]]:
    crowd = one.crowd if len(one.crowd) else np.zeros(len(one.boxes), dtype=bool)
    return [
        {
            "image_id": image,
            "category_id": int(name),
            "bbox": _xywh(box),
            "area": float(area),
            "iscrowd": int(region),
        }
        for box, name, area, region in zip(one.boxes, one.classes, one.areas, crowd, strict=True)
    ]


def _detections(image: int, labels: Labels) -> list[dict[str, Any]]:
    count = len(labels.boxes)
    if len(labels.scores) != count or len(labels.classes) != count:
        raise DataError(
            f"image {image}: {len(labels.scores)} scores and {len(labels.classes)} classes of {count} detections; "
            "give each one a score and a class"
        )
    if not (np.isfinite(labels.boxes).all() and np.isfinite(labels.scores).all()):
        raise DataError(f"image {image}: a box or a score that is not finite; leave it out")
    return [
        {
            "image_id": image,
            "category_id": int(name),
            "bbox": _xywh(box),
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "score": float(score),
        }
        for box, name, score in zip(labels.boxes, labels.classes, labels.scores, strict=True)
    ]


def _xywh(box: Float[np.ndarray, " 4"]) -> list[float]:
    left, top, right, bottom = box.tolist()
    return [left, top, right - left, bottom - top]
