"""Detection as COCO scores it: average precision over IoU thresholds, classes and sizes, counted by pycocotools.

Average precision is no ratio of sums: it needs the detections of all images at once.
"""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.errors import DataError
from unibench.records import Labels

ORDER = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The twelve numbers of COCO, in its order."""


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


def score(truth: Sequence[Annotated], found: Sequence[Labels]) -> dict[str, float]:
    """Score the detections of a data set.

    Args:
        truth: what is in each image.
        found: boxes, scores and classes of each image, in the same order; at most the 100 best of a class count.

    Returns:
        `ORDER`: AP over IoU .50 to .95, at .50, at .75, of small, medium and large objects; average recall with 1, 10
        and 100 detections, and by size; fractions. NaN where the truth has no such object.

    Raises:
        DataError: a detection has no score or no class, or a number is not finite.

    Reference:
        Lin et al.: Microsoft COCO, arXiv 1405.0312; pycocotools.cocoeval.COCOeval.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [row for image, labels in enumerate(found, start=1) for row in _detections(image, labels)]
    annotations = [row for image, one in enumerate(truth, start=1) for row in _annotations(image, one)]
    classes = {row["category_id"] for row in (*annotations, *rows)}
    if not annotations:
        return dict.fromkeys(ORDER, math.nan)
    with contextlib.redirect_stdout(io.StringIO()):
        known, predicted = COCO(), COCO()
        for table, entries in ((known, annotations), (predicted, rows)):
            table.dataset = {
                "images": [{"id": image} for image in range(1, len(truth) + 1)],
                "categories": [{"id": number} for number in sorted(classes)],
                "annotations": [{**row, "id": number} for number, row in enumerate(entries, start=1)],
            }
            table.createIndex()
        evaluation = COCOeval(known, predicted, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = (float(value) for value in evaluation.stats)
    return {name: value if value >= 0 else math.nan for name, value in zip(ORDER, values, strict=True)}


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
