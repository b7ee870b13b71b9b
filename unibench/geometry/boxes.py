"""Areas and overlaps of boxes: xyxy in any unit, NumPy arrays and torch tensors alike."""

from typing import Any

import numpy as np
from jaxtyping import Float
from pycocotools import mask as coco

Boxes = Any
"""NumPy array or torch tensor; a function gives what it takes."""


def iou(first: Boxes, second: Boxes, *, over_first: bool = False) -> Boxes:
    """Intersection over union of every pair.

    Arrays are measured by pycocotools, in double precision, so that scores round as those of the benchmarks do;
    tensors on their device, in their own precision.

    Args:
        first: (first, 4).
        second: (second, 4).
        over_first: Divide by the area of the first box instead: the share of it that lies in the second.

    Returns:
        (first, second), 0 to 1; 0 where both boxes are empty.
    """
    if not isinstance(first, np.ndarray):
        from unibench.geometry import box_tensors  # boards compute overlaps of arrays, and load no torch

        return box_tensors.iou(first, second, over_first=over_first)
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    crowd = [int(over_first)] * len(second)
    return np.asarray(coco.iou(_xywh(first), _xywh(second), crowd), dtype=np.float64)


def paired_iou(
    first: Float[np.ndarray, "pair 4"], second: Float[np.ndarray, "pair 4"]
) -> Float[np.ndarray, " pair"]:
    """Intersection over union of each row with the same row, 0 to 1; 0 where it is undefined."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (first, second)]
    union = areas[0] + areas[1] - shared
    overlap = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    clipped: Float[np.ndarray, " pair"] = np.clip(overlap, 0.0, 1.0)
    return clipped


def _xywh(boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
