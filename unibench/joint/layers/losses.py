"""Loss terms, in single precision whatever the network computes in."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from unibench.joint.system import UNKNOWN


def focal(
    logits: Float[Tensor, "*shape"], targets: Float[Tensor, "*shape"], *, alpha: float, gamma: float
) -> Float[Tensor, ""]:
    """Sum the sigmoid focal loss, which makes little of what is right already.

    Args:
        logits: Before the sigmoid.
        targets: 0 or 1.
        alpha: Weight of the ones; the zeros have 1 - alpha.
        gamma: Power of the error that a term is multiplied by.

    Reference:
        RetinaNet (Lin et al. 2017), equation 5.
    """
    loss: Tensor = sigmoid_focal_loss(logits.float(), targets.float(), alpha, gamma, reduction="sum")
    return loss


def huber(x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"], delta: float) -> Float[Tensor, ""]:
    """Sum Huber's loss: half the squared error up to `delta`, from there on a line of slope `delta`."""
    return F.huber_loss(x.float(), y.float(), reduction="sum", delta=delta)


def batch_hard(
    embeddings: Float[Tensor, "n dim"],
    ids: Int[Tensor, " n"],
    clips: Int[Tensor, " n"],
    *,
    margin: float,
    generator: torch.Generator,
    count: int,
) -> Float[Tensor, ""]:
    """Average the soft-margin triplet loss over some rows, each with its hardest partners of the same clip.

    The farthest row of the same object (at the least the row itself) shall be nearer than the nearest one of
    another object.

    Args:
        embeddings: Not normalised.
        ids: Identity, unique within a clip. Rows of `UNKNOWN` take no part.
        clips: Which clip each row is of.
        margin: By how much nearer.
        generator: Draws the rows, on the CPU, so that every device draws alike.
        count: Most rows that are drawn, of those with another object in their clip; without repetition.

    Returns:
        0 where there are none.

    Reference:
        RetinaTrack, equation 7; Hermans et al. 2017, section 2.
    """
    known = ids != UNKNOWN
    embeddings, ids, clips = embeddings[known].float(), ids[known], clips[known]
    together = clips[:, None] == clips
    same = together & (ids[:, None] == ids)
    others = together & ~same
    able = others.any(dim=1).nonzero()[:, 0]
    if not len(able):
        return embeddings.sum() * 0
    drawn = able[torch.randperm(len(able), generator=generator)[:count].to(able.device)]
    # Without the matrix product, which is inexact for near rows.
    distance = torch.cdist(embeddings[drawn], embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    positive = distance.masked_fill(~same[drawn], -torch.inf).amax(dim=1)
    negative = distance.masked_fill(~others[drawn], torch.inf).amin(dim=1)
    return F.softplus(margin + positive - negative).mean()


def overlaps(first: Float[Tensor, "box 4"], second: Float[Tensor, "box 4"]) -> Float[Tensor, " box"]:
    """Intersection over union of each pair of boxes (xyxy), with a gradient also where both are empty."""
    shared, whole = _shared_and_whole(first, second)
    return shared / (whole + 1e-16)


def iou_loss(predicted: Float[Tensor, "box 4"], truth: Float[Tensor, "box 4"]) -> Float[Tensor, " box"]:
    """1 - IoU^2 of each pair of boxes (xyxy): YOLOX's."""
    return 1 - overlaps(predicted, truth) ** 2


def giou_loss(predicted: Float[Tensor, "box 4"], truth: Float[Tensor, "box 4"]) -> Float[Tensor, " box"]:
    """1 - generalised IoU of each pair of boxes (xyxy), 0 to 2.

    Reference:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    shared, whole = _shared_and_whole(predicted, truth)
    hull = torch.maximum(predicted[:, 2:], truth[:, 2:]) - torch.minimum(predicted[:, :2], truth[:, :2])
    area = hull.prod(dim=1).clamp(min=1e-16)
    return 1 - (shared / (whole + 1e-16) - (area - whole) / area).clamp(-1, 1)


def dice(
    predicted: Float[Tensor, " row *shape"], truth: Float[Tensor, " row *shape"]
) -> Float[Tensor, " row"]:
    """1 - Dice coefficient of each row: twice the product over the sum of squares.

    Args:
        predicted: 0 to 1.
        truth: 0 to 1.

    Reference:
        Milletari et al., "V-Net", 3DV 2016, equation 3.
    """
    x, y = predicted.float().flatten(1), truth.float().flatten(1)
    return 1 - 2 * (x * y).sum(dim=1) / ((x**2).sum(dim=1) + (y**2).sum(dim=1) + 1e-5)


def _shared_and_whole(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of each pair."""
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    shared = sides.clamp(min=0).prod(dim=1)
    areas = [(one[:, 2:] - one[:, :2]).prod(dim=1) for one in (first, second)]
    return shared, areas[0] + areas[1] - shared
