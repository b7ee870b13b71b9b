"""Areas and overlaps of boxes: xyxy in any unit, NumPy arrays and torch tensors alike."""

from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from pycocotools import mask as coco
from torch import Tensor

Boxes = TypeVar("Boxes", np.ndarray, Tensor)


def area(boxes: Float[Tensor, "box 4"]) -> Float[Tensor, " box"]:
    """Area of each box, in the square of its unit."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


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
    if isinstance(first, Tensor):
        return _iou_of_tensors(first, second, over_first)
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


def _iou_of_tensors(
    first: Float[Tensor, "first 4"], second: Float[Tensor, "second 4"], over_first: bool
) -> Float[Tensor, "first second"]:
    # One axis a coordinate, contiguous: ten times as fast as torchvision's, which is laid out by pairs of coordinates.
    left, top, right, bottom = first.T.contiguous()[:, :, None]
    other_left, other_top, other_right, other_bottom = second.T.contiguous()
    width = torch.minimum(right, other_right) - torch.maximum(left, other_left)
    height = torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)
    shared = width.clamp(min=0) * height.clamp(min=0)
    whole = area(first)[:, None]
    return torch.nan_to_num(shared / (whole if over_first else whole + area(second) - shared))


def _xywh(boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
