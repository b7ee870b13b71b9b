"""Which cells of a detector without anchors stand for which object in training: SimOTA."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from unibench.geometry.boxes import iou

RADIUS = 2.5
"""Of the square around an object's centre whose cells are candidates, strides."""
CANDIDATES = 10
"""The best overlaps whose sum says how many cells an object gets."""
OVERLAP_COST = 3.0
OUTSIDE_COST = 1e5
"""Of a cell that does not lie both in the box and near its centre."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Cells that stand for an object, in the order of the cells."""

    cells: Int[Tensor, " match"]
    objects: Int[Tensor, " match"]
    overlaps: Float[Tensor, " match"]
    """IoU of the cell's predicted box with its object's."""


@torch.no_grad()
def simota(
    points: Float[Tensor, "cell 3"],
    boxes: Float[Tensor, "cell 4"],
    scores: Float[Tensor, "cell class"],
    truth: Float[Tensor, "object 4"],
    classes: Int[Tensor, " object"],
    size: tuple[int, int],
) -> Matches:
    """Give each object the cells that predict it best, more of them the better they do.

    Args:
        points: x, y of each cell's centre and its stride, pixels.
        boxes: That each cell predicts, xyxy, pixels.
        scores: Probability of each class times that of an object, 0 to 1.
        truth: The objects' boxes, xyxy, pixels.
        classes: Of the objects.
        size: Height and width of the image.

    Returns:
        A cell that several objects want goes to the one that costs it least. Of equal costs the first cell counts.

    Reference:
        Ge et al., "YOLOX", 2021, section 2.1.
    """
    inside, near = _candidates(points, truth, size)
    cells = (inside | near).any(dim=1).nonzero()[:, 0]
    if not len(cells):
        none = points.new_zeros(0, dtype=torch.int64)
        return Matches(none, none, points.new_zeros(0))
    overlap = iou(boxes[cells], truth)
    goals = F.one_hot(classes, scores.shape[1]).to(scores)
    likely = scores[cells].sqrt()[:, None].expand(-1, len(truth), -1)
    classification = F.binary_cross_entropy(likely, goals.expand_as(likely), reduction="none").sum(dim=2)
    cost = classification - OVERLAP_COST * (overlap + 1e-8).log()
    cost = cost + OUTSIDE_COST * ~(inside & near)[cells]
    best = overlap.topk(min(CANDIDATES, len(cells)), dim=0).values
    counts = best.sum(dim=0).int().clamp(min=1)
    ranks = cost.argsort(dim=0, stable=True).argsort(dim=0)
    wanted = ranks < counts
    several = wanted.sum(dim=1) > 1
    cheapest = F.one_hot(cost.argmin(dim=1), len(truth)).bool()
    wanted = torch.where(several[:, None], cheapest, wanted)
    rows, objects = wanted.nonzero().T
    return Matches(cells[rows], objects, overlap[rows, objects])


def _candidates(
    points: Float[Tensor, "cell 3"], truth: Float[Tensor, "object 4"], size: tuple[int, int]
) -> tuple[Bool[Tensor, "cell object"], Bool[Tensor, "cell object"]]:
    """Which cells lie in each box, and which near its centre, the part of it that is in the image."""
    x, y, stride = points[:, :, None].unbind(dim=1)
    left, top, right, bottom = truth.T
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    centre_x = ((left + right) / 2).clamp(0, size[1])
    centre_y = ((top + bottom) / 2).clamp(0, size[0])
    near = ((x - centre_x).abs() < RADIUS * stride) & ((y - centre_y).abs() < RADIUS * stride)
    return inside, near
