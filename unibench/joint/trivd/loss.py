"""MDETR's losses: which tokens a query is about, its box, and its likeness to the words.

Each is a sum, to be divided by the number of objects in the batch. The queries of several images, or layers, stand one
after the other; so do the objects, and pairs count both through. Boxes are those of the DETR family:
centre x, centre y, width, height as shares of the image's width and height.

Reference: Kamath et al., "MDETR - Modulated Detection for End-to-End Multi-Modal Understanding", ICCV 2021,
section 2.2.2; what it leaves open is as in the authors' code.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from unibench.geometry.box_tensors import corners
from unibench.joint.hungarian import Pairs
from unibench.joint.layers.losses import giou_loss

TEMPERATURE = 0.07
"""Of the contrastive alignment."""


def token_map(spans: Sequence[tuple[int, int]], count: int) -> Float[Tensor, "class token"]:
    """Share of each token in the name of each class.

    Args:
        spans: Of each class the first token of its name, and the one after its last.
        count: Of the logits of a query: all tokens that a prompt may have, and at the end "no object".

    Returns:
        0 to 1; rows sum to 1.
    """
    shares = torch.zeros(len(spans), count)
    for row, (start, stop) in enumerate(spans):
        assert 0 <= start < stop < count
        shares[row, start:stop] = 1 / (stop - start)
    return shares


def soft_token_loss(
    logits: Float[Tensor, "query token"],
    tokens: Float[Tensor, "object token"],
    pairs: Pairs,
    no_object: float,
) -> Float[Tensor, ""]:
    """Sum the cross-entropy between the tokens that queries are about and those of their objects' names.

    Args:
        logits: Before the soft-max; the last one is of no object, which is right for every query without one.
        tokens: Of each object the row of its class in `token_map`.
        pairs: Queries and their objects.
        no_object: Weight of a query without an object.
    """
    terms = -logits.float().log_softmax(dim=1)
    weights = torch.full_like(terms[:, 0], no_object).index_fill(0, pairs.queries, 1.0)
    goals = torch.zeros_like(terms)
    goals[:, -1] = 1
    goals[pairs.queries] = tokens[pairs.objects].to(goals)
    return (weights * (terms * goals).sum(dim=1)).sum()


def region_loss(
    logits: Float[Tensor, "level object token_or_none"], right: Bool[Tensor, "object token"]
) -> Float[Tensor, ""]:
    """Sum the binary cross-entropy of each token: whether it is more likely than "no object".

    A token is told from no object, not from the other tokens, so that it counts alike in every prompt. As in Li et al.,
    "Grounded Language-Image Pre-training", CVPR 2022, section 3.1, whose focal weights are left out.

    Args:
        logits: Of each region; the last one is of no object.
        right: Which tokens are of the name of what lies there.
    """
    odds = (logits[..., :-1] - logits[..., -1:]).float()
    wanted = right.to(odds).expand_as(odds)
    return F.binary_cross_entropy_with_logits(odds, wanted, reduction="sum")


def box_losses(
    boxes: Float[Tensor, "query 4"], truth: Float[Tensor, "object 4"], pairs: Pairs
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum the distances of the queries' boxes from those of their objects.

    Args:
        boxes: That each query predicts.
        truth: The objects' boxes.
        pairs: Queries and their objects.

    Returns:
        L1 distance; 1 - generalised IoU. The authors weigh them by 5 and 2.
    """
    found, wanted = boxes[pairs.queries].float(), truth[pairs.objects].float()
    return F.l1_loss(found, wanted, reduction="sum"), giou_loss(corners(found), corners(wanted)).sum()


def contrastive_loss(
    queries: Float[Tensor, "group query dim"],
    words: Float[Tensor, "token dim"],
    tokens: Bool[Tensor, "object token"],
    pairs: Pairs,
) -> Float[Tensor, ""]:
    """Sum the cross-entropy of finding the tokens of each object's name among all, and of each token its objects.

    Args:
        queries: Embeddings of unit length; a group is what one image has in one layer.
        words: Embeddings of the prompt's tokens, of unit length; those of no class take part too.
        tokens: Which tokens of the prompt are of each object's name.
        pairs: Queries and their objects.

    Returns:
        Half the sum of both directions; 0 where no query has an object.
    """
    logits = queries.float() @ words.float().T / TEMPERATURE
    positive = torch.zeros_like(logits.flatten(0, 1), dtype=torch.bool)
    positive[pairs.queries] = tokens[pairs.objects]
    positive = positive.view_as(logits)
    return (_alignment(logits, positive, 2) + _alignment(logits, positive, 1)) / 2


def _alignment(
    logits: Float[Tensor, "group query token"], positive: Bool[Tensor, "group query token"], dim: int
) -> Float[Tensor, ""]:
    """Along an axis, where it has something positive: log-sum-exp over all less the mean over what is positive."""
    count = positive.sum(dim=dim)
    mean = (logits * positive).sum(dim=dim) / count.clamp(min=1)
    return ((logits.logsumexp(dim=dim) - mean) * (count > 0)).sum()
