"""Unicorn's losses: correspondence, detection, and in the second stage masks alone.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022, section 3.4; what it leaves open is as
in the authors' code.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.assign import Matches, simota
from unibench.joint.layers.losses import dice, iou_loss
from unibench.joint.system import UNKNOWN, Batch, Targets
from unibench.joint.unicorn.config import LossOptions, UnicornConfig
from unibench.joint.unicorn.head import Outputs
from unibench.joint.unicorn.interaction import label_maps, sample
from unibench.joint.unicorn.network import Pair

DETECTION = "detection"
"""The stage in which nothing is learnt but to detect. The official models have it behind them: they start from a
detector of COCO's objects."""
MASKS = "masks"
"""The stage in which nothing but masks is learnt."""


def losses(network: nn.Module, batch: Batch, config: UnicornConfig, stage: str) -> dict[str, Tensor]:
    """Say how far the network is from the truth: the weighted terms to be added up.

    Args:
        network: `network.Unicorn`, or what wraps it.
        batch: Pairs of frames. Objective `sot`: of each pair, the one object that is prompted in the first frame;
            `mot`: all objects.
        config: Holds the weights.
        stage: `detection`: all objects of both frames, each frame on its own; `masks`: the masks alone; any other
            name: correspondence and detection.
    """
    if stage == DETECTION:
        return _detected(network, batch, config.losses)
    first, second = (tuple(clip[time] for clip in batch.targets) for time in (0, 1))
    size = (batch.images.shape[3], batch.images.shape[4])
    masks = stage == MASKS
    if batch.objective == "sot":
        pair = network(batch.images.float(), _labels(first, size), all_objects=False, masks=masks)
        second = tuple(_unclassed(one) for one in second)
        if masks:
            return {"mask": mask_loss(network, pair, pair.prompted, second, size)}
        return _prompted(pair, second, size, config.losses)
    again = _found_again(first, second) if config.losses.auxiliary and not masks else None
    labels = _labels(again[0], size) if again else None
    pair = network(batch.images.float(), labels, all_objects=True, masks=masks)
    if masks:
        return {"mask": config.losses.mot * mask_loss(network, pair, pair.found, second, size)}
    assert pair.found is not None
    terms = detection_losses(pair.found, second, size, config.losses)
    terms["correspondence"] = instance_correspondence(pair, first, second)
    terms = {name: config.losses.mot * value for name, value in terms.items()}
    if again:
        auxiliary = _prompted(pair, again[1], size, config.losses)
        terms["auxiliary"] = config.losses.auxiliary * torch.stack([*auxiliary.values()]).sum()
    return terms


def detection_losses(
    outputs: Outputs, targets: Sequence[Targets], size: tuple[int, int], options: LossOptions
) -> dict[str, Tensor]:
    """YOLOX's losses, each a sum over the cells that stand for an object, divided by their number in the batch.

    Args:
        outputs: Of the head.
        targets: Of each image.
        size: Height and width of the images.
        options: Holds the weight of the boxes.
    """
    matches = assign(outputs, targets, size)
    images = torch.cat([torch.full_like(one.cells, image) for image, one in enumerate(matches)])
    cells = torch.cat([one.cells for one in matches])
    truth = torch.cat([one.boxes[match.objects] for one, match in zip(targets, matches, strict=True)])
    classes = torch.cat([one.classes[match.objects] for one, match in zip(targets, matches, strict=True)])
    overlap = torch.cat([one.overlaps for one in matches])
    count = max(1, len(cells))
    objects = torch.zeros_like(outputs.objects, dtype=torch.float32)
    objects[images, cells] = 1
    logits = outputs.classes[images, cells].float()
    goals = F.one_hot(classes, logits.shape[1]) * overlap[:, None]
    return {
        "overlap": options.overlap * iou_loss(outputs.boxes[images, cells], truth).sum() / count,
        "object": _bce(outputs.objects.float(), objects) / count,
        "class": _bce(logits, goals.to(logits)) / count,
        "offset": F.l1_loss(
            outputs.offsets[images, cells].float(), _offsets(truth, outputs.points[cells]), reduction="sum"
        )
        / count,
    }


def assign(outputs: Outputs, targets: Sequence[Targets], size: tuple[int, int]) -> list[Matches]:
    """Say which cells of each image stand for which object."""
    boxes, scores = outputs.boxes.detach(), outputs.scores.detach()
    return [
        simota(outputs.points, boxes[image], scores[image], one.boxes, one.classes, size)
        for image, one in enumerate(targets)
    ]


def instance_correspondence(
    pair: Pair, first: Sequence[Targets], second: Sequence[Targets]
) -> Float[Tensor, ""]:
    """Cross-entropy of finding each object of a frame among those of the other, both ways; 0 where none is in both.

    Args:
        pair: Holds the embeddings.
        first: Objects of the first frames.
        second: Objects of the second frames.
    """
    terms = []
    for reference, current, before, after in zip(pair.reference, pair.current, first, second, strict=True):
        same = (before.ids[:, None] == after.ids) & (before.ids != UNKNOWN)[:, None]
        if not same.any():
            terms.append((reference.sum() + current.sum()) * 0)
            continue
        likeness = sample(reference, before.boxes) @ sample(current, after.boxes).T
        both = [_cross_entropy(likeness, same), _cross_entropy(likeness.T, same.T)]
        terms.append(torch.stack(both).mean())
    return torch.stack(terms).mean()


def mask_loss(
    network: nn.Module,
    pair: Pair,
    outputs: Outputs | None,
    targets: Sequence[Targets],
    size: tuple[int, int],
) -> Float[Tensor, ""]:
    """Dice loss of the masks of all cells that stand for an object: mean of an image, then over images with some.

    Args:
        network: Holds the mask head, which has no parameters.
        pair: Holds what masks are made of.
        outputs: Of the head, with parameters of masks.
        targets: Of each image; masks are compared at stride 2.
        size: Height and width of the images.
    """
    assert outputs is not None
    assert pair.mask_features is not None
    assert outputs.parameters is not None
    head: Any = getattr(network, "module", network).head
    features, weights = pair.mask_features
    terms = []
    for image, (one, match) in enumerate(zip(targets, assign(outputs, targets, size), strict=True)):
        if len(match.cells) and len(one.masks):
            found = head.masks(features[image], weights[image], outputs, image, match.cells)
            halves = F.interpolate(one.masks[:, None].float(), scale_factor=0.5, mode="bilinear")[:, 0]
            terms.append(dice(found, halves[match.objects]).mean())
    if not terms:
        return (features.sum() + weights.sum() + outputs.parameters.sum()) * 0
    return torch.stack(terms).mean()


def _detected(network: nn.Module, batch: Batch, options: LossOptions) -> dict[str, Tensor]:
    """Losses of all objects in every frame."""
    part: Any = getattr(network, "module", network)
    images = batch.images.flatten(0, 1).float()
    targets = [one for clip in batch.targets for one in clip]
    outputs = part.head(part.look(images), None, "mot")
    return detection_losses(outputs, targets, (images.shape[2], images.shape[3]), options)


def _prompted(
    pair: Pair, targets: Sequence[Targets], size: tuple[int, int], options: LossOptions
) -> dict[str, Tensor]:
    """Losses of the prompted object: the prior against its box, over the whole batch, and detection."""
    assert pair.prior is not None
    assert pair.prompted is not None
    truth = _labels(targets, size)
    terms = detection_losses(pair.prompted, targets, size, options)
    return {"correspondence": dice(pair.prior.flatten()[None], truth.flatten()[None])[0], **terms}


def _labels(targets: Sequence[Targets], size: tuple[int, int]) -> Float[Tensor, "clip h w"]:
    """Label maps of the prompted objects, zeros where there is none."""
    return torch.stack([label_maps(one.boxes, size).sum(dim=0).clamp(max=1) for one in targets])


def _unclassed(targets: Targets) -> Targets:
    return replace(targets, classes=torch.zeros_like(targets.classes))


def _found_again(
    first: Sequence[Targets], second: Sequence[Targets]
) -> tuple[tuple[Targets, ...], tuple[Targets, ...]]:
    """Of each pair the first object that is in both frames, without its class; nothing where there is none."""
    rows = []
    for before, after in zip(first, second, strict=True):
        same = (before.ids[:, None] == after.ids) & (before.ids != UNKNOWN)[:, None]
        rows.append(same.nonzero()[:1])
    return (
        tuple(_only(one, row[:, 0]) for one, row in zip(first, rows, strict=True)),
        tuple(_only(one, row[:, 1]) for one, row in zip(second, rows, strict=True)),
    )


def _only(targets: Targets, rows: Tensor) -> Targets:
    return _unclassed(
        replace(targets, boxes=targets.boxes[rows], classes=targets.classes[rows], ids=targets.ids[rows])
    )


def _cross_entropy(likeness: Tensor, same: Tensor) -> Tensor:
    """Over the rows that have a partner."""
    rows = same.any(dim=1)
    return F.cross_entropy(likeness[rows], same[rows].int().argmax(dim=1))


def _bce(logits: Tensor, goals: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, goals, reduction="sum")


def _offsets(boxes: Float[Tensor, "cell 4"], points: Float[Tensor, "cell 3"]) -> Float[Tensor, "cell 4"]:
    """What the head should say of each cell's box: the inverse of `Outputs.boxes`."""
    stride = points[:, 2:]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - (points[:, :2] - stride / 2)
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.cat([centres / stride, (sides / stride + 1e-8).log()], dim=1)
