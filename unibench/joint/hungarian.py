"""Which query of a DETR stands for which object in training: the cheapest one-to-one assignment.

Boxes are those of the DETR family: centre x, centre y, width, height as shares of the image's width and height.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from unibench.errors import TrainingError
from unibench.geometry.box_tensors import corners, giou

L1_COST = 5.0
GIOU_COST = 2.0
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal cost."""
FREE = -1
"""A query that may match any object, or none."""
NOTHING = -2
"""A query that must match no object: a track query made false on purpose."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Queries that stand for an object, in the order of the queries."""

    queries: Int[Tensor, " pair"]
    objects: Int[Tensor, " pair"]


def focal_cost(
    logits: Float[Tensor, "query class"], classes: Int[Tensor, " object"]
) -> Float[Tensor, "query object"]:
    """Focal loss of saying an object's class less that of denying it; Deformable DETR weighs it by 2.

    Args:
        logits: Before the sigmoid.
        classes: Of the objects.
    """
    likely = logits.float().sigmoid()
    denied = (1 - ALPHA) * likely**GAMMA * -(1 - likely + 1e-8).log()
    said = ALPHA * (1 - likely) ** GAMMA * -(likely + 1e-8).log()
    return (said - denied)[:, classes]


def softmax_cost(
    logits: Float[Tensor, "query class"], classes: Int[Tensor, " object"]
) -> Float[Tensor, "query object"]:
    """Negative probability of each object's class.

    Args:
        logits: Before the soft-max; the last one is of no object.
        classes: Of the objects.
    """
    return -logits.float().softmax(dim=1)[:, classes]


def token_cost(
    logits: Float[Tensor, "query token"], tokens: Float[Tensor, "object token"]
) -> Float[Tensor, "query object"]:
    """Negative mean probability of the tokens of each object's class.

    Args:
        logits: Before the soft-max; the last one is of no object.
        tokens: Share of each token in the name of the object's class; rows sum to 1.
    """
    return -logits.float().softmax(dim=1) @ tokens.T


@torch.no_grad()
def match(
    class_cost: Float[Tensor, "query object"],
    boxes: Float[Tensor, "query 4"],
    truth: Float[Tensor, "object 4"],
    fixed: Int[Tensor, " query"] | None = None,
) -> Pairs:
    """Give each object a query of its own, so that the sum of the costs is least.

    Args:
        class_cost: Already weighted; 5 times the L1 distance of the boxes and -2 times their generalised IoU are
            added.
        boxes: That each query predicts.
        truth: The objects' boxes.
        fixed: Of each query the object that it must match, whatever it costs; `FREE` or `NOTHING`. None: all free.

    Returns:
        In the order of the queries. Where objects outnumber the queries that may match them, some have none.

    Raises:
        TrainingError: A cost or a box is not finite.

    Reference:
        Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020, section 3.1; forced matches:
        Meinhardt et al., "TrackFormer", CVPR 2022, section 3.3.
    """
    pairs = assign(costs(class_cost, boxes, truth).cpu(), None if fixed is None else fixed.cpu())
    return Pairs(pairs.queries.to(boxes.device), pairs.objects.to(boxes.device))


@torch.no_grad()
def costs(
    class_cost: Float[Tensor, "query object"],
    boxes: Float[Tensor, "query 4"],
    truth: Float[Tensor, "object 4"],
) -> Float[Tensor, "query object"]:
    """Say what it costs to let a query stand for an object.

    Args, Raises:
        As for `match`.
    """
    broken = int((~torch.cat([class_cost, boxes], dim=1).isfinite().all(dim=1)).sum())
    if broken:
        raise TrainingError(
            f"matching: {broken} of {len(boxes)} queries have a box or a class that is not finite, expected finite "
            "numbers; lower the learning rate"
        )
    odd = (~truth.isfinite().all(dim=1)).nonzero()[:, 0].tolist()
    if odd:
        raise TrainingError(
            f"matching: the box of object {odd[0]} is {truth[odd[0]].tolist()}, expected finite numbers; correct the "
            "annotations"
        )
    boxes, truth = boxes.float(), truth.float()
    overlap = giou(corners(boxes), corners(truth))
    return class_cost + L1_COST * torch.cdist(boxes, truth, p=1) - GIOU_COST * overlap


def assign(cost: Float[Tensor, "query object"], fixed: Int[Tensor, " query"] | None = None) -> Pairs:
    """Give each object a query of its own, so that the sum of the costs is least.

    Args:
        cost: From `costs`, on the CPU.
        fixed: As for `match`, on the CPU.
    """
    fixed = torch.full((len(cost),), FREE) if fixed is None else fixed
    forced = (fixed >= 0).nonzero()[:, 0]
    assert len(set(fixed[forced].tolist())) == len(forced), "two queries are forced onto one object"
    queries = (fixed == FREE).nonzero()[:, 0]
    left = torch.ones(cost.shape[1], dtype=torch.bool)
    left[fixed[forced]] = False
    objects = left.nonzero()[:, 0]
    rows, columns = linear_sum_assignment(cost[queries][:, objects].numpy())
    chosen = torch.cat([forced, queries[rows]])
    order = chosen.argsort()
    chosen, matched = chosen[order], torch.cat([fixed[forced], objects[columns]])[order]
    return Pairs(chosen, matched)
