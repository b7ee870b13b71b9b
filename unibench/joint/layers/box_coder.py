"""Boxes xyxy, pixels: offsets from anchors, and the choice of what a detector reports."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import nms

Weights = tuple[float, float, float, float]
"""Of the offsets (x, y, width, height)."""
WEIGHTS: Weights = (10.0, 10.0, 5.0, 5.0)
LARGEST = math.log(1000 / 16)
"""Of the logarithm of a decoded size over its anchor's, so that no offset makes an infinite box."""
FIRST_ROWS = 1024
"""Boxes of a class in the first round of non-maximum suppression; a further round takes four times as many."""


def encode(
    boxes: Float[Tensor, "box 4"], anchors: Float[Tensor, "box 4"], weights: Weights = WEIGHTS
) -> Float[Tensor, "box 4"]:
    """Say where each box lies relative to its anchor.

    Args:
        boxes: xyxy, pixels; an empty box counts as a thousandth of a pixel wide.
        anchors: xyxy, pixels, one a box.
        weights: What the four offsets are multiplied by.

    Returns:
        Shift of the centre in x and y as shares of the anchor's width and height, then logarithms of the ratios of
        the widths and heights; each times its weight.

    Reference:
        Faster R-CNN, section 3.1.2, equation 2.
    """
    centre, size = _centre_size(boxes)
    origin, unit = _centre_size(anchors)
    offsets = torch.cat([(centre - origin) / unit, (size.clamp(min=1e-3) / unit).log()], dim=1)
    return offsets * offsets.new_tensor(weights)


def decode(
    offsets: Float[Tensor, "box 4"], anchors: Float[Tensor, "box 4"], weights: Weights = WEIGHTS
) -> Float[Tensor, "box 4"]:
    """Turn offsets back into boxes: the inverse of `encode`, up to boxes over 62 times as large as their anchor.

    Args:
        offsets: Of x, y, width, height, as `encode` gives them.
        anchors: xyxy, pixels, one a box.
        weights: The same as in `encode`.

    Returns:
        xyxy, pixels.
    """
    origin, unit = _centre_size(anchors)
    shares = offsets / offsets.new_tensor(weights)
    centre = origin + shares[:, :2] * unit
    half = shares[:, 2:].clamp(max=LARGEST).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=1)


def select(
    scores: Float[Tensor, "anchor class"],
    boxes: Float[Tensor, "anchor 4"],
    *,
    min_score: float,
    iou: float,
    per_class: int,
    total: int,
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
    """Choose what a detector reports: non-maximum suppression within each class, then the best of all.

    Args:
        scores: 0 to 1.
        boxes: xyxy, pixels.
        min_score: Lower scores are left out.
        iou: Of two boxes of a class that overlap more, the lower score is left out.
        per_class: Most that are kept of a class.
        total: Most that are kept.

    Returns:
        Row and class of each that is kept, best first; of equal scores the first class, then the first row.
    """
    most = min(per_class, total)
    found = [_apart(column, boxes, min_score, iou, most) for column in scores.T]
    rows = torch.cat(found)
    classes = torch.cat([torch.full_like(one, number) for number, one in enumerate(found)])
    best = scores[rows, classes].argsort(descending=True, stable=True)[:total]
    return rows[best], classes[best]


def _apart(scores: Tensor, boxes: Tensor, min_score: float, iou: float, most: int) -> Tensor:
    """Rows that non-maximum suppression keeps, best first."""
    ranked, rows = scores.sort(descending=True, stable=True)
    rows = rows[: int((ranked >= min_score).sum())]
    count = FIRST_ROWS
    while True:  # worse boxes never suppress better ones, so the best of the best rows are the best of all
        part = rows[:count]
        kept = nms(boxes[part].float(), scores[part].float(), iou)[:most]
        if len(kept) == most or count >= len(rows):
            return part[kept]
        count *= 4


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
