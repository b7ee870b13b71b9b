"""RetinaTrack's loss: focal loss of the classes, Huber loss of the boxes, triplet loss of the embeddings.

Reference: Lu et al., "RetinaTrack", CVPR 2020, section 3.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from unibench.joint.layers import anchors, box_coder
from unibench.joint.layers.losses import batch_hard, focal, huber
from unibench.joint.retinatrack.config import RetinaTrackConfig
from unibench.joint.retinatrack.network import Outputs
from unibench.joint.system import UNKNOWN, Batch, Targets

DETECTOR = "detector"
"""The stage without the triplet loss: the paper's models start from a detector of COCO's objects."""


@dataclass(frozen=True, eq=False)
class Goals:
    """What each anchor of a batch shall say."""

    kept: Int[Tensor, "batch anchor"]
    """1, or 0 where nothing is learnt."""
    matched: Int[Tensor, "batch anchor"]
    """1 where the anchor stands for an object."""
    classes: Int[Tensor, "batch anchor"]
    """-1: background."""
    offsets: Float[Tensor, "batch anchor 4"]
    ids: Int[Tensor, "batch anchor"]
    """`UNKNOWN`: no identity."""


def losses(
    network: torch.nn.Module, batch: Batch, config: RetinaTrackConfig, stage: str
) -> dict[str, Tensor]:
    """Say how far the network is from the truth: the terms to be added up.

    Args:
        network: `network.RetinaTrack`, or what wraps it.
        batch: Clips of one or more frames.
        config: Holds the weights.
        stage: `detector`: classes and boxes alone; any other name: embeddings as well.
    """
    clips, time = batch.images.shape[:2]
    outputs: Outputs = network(batch.images.flatten(0, 1))
    targets = [one for clip in batch.targets for one in clip]
    found = goals(outputs.anchors, targets, config)
    terms = detection_losses(outputs, found, config)
    if config.losses.triplet and stage != DETECTOR:
        numbers = torch.arange(clips, device=found.ids.device).repeat_interleave(time)
        terms["triplet"] = config.losses.triplet * triplet_loss(outputs, found, numbers, config)
    return terms


def goals(grid: Float[Tensor, "anchor 4"], targets: Sequence[Targets], config: RetinaTrackConfig) -> Goals:
    """Assign objects to anchors: from IoU `matched` on for detection, from IoU `identified` on for identity.

    In both, the best anchor of each object stands for it whatever its IoU.

    Args:
        grid: The anchors.
        targets: Of each image.
        config: Holds the thresholds.
    """
    each = [_goals_of_image(grid, one, config) for one in targets]
    return Goals(*(torch.stack(part) for part in zip(*each, strict=True)))


def _goals_of_image(
    grid: Float[Tensor, "anchor 4"], targets: Targets, config: RetinaTrackConfig
) -> tuple[Tensor, ...]:
    assigned = anchors.assign(grid, targets.boxes, threshold=config.anchors.matched, ignored=targets.ignored)
    identified = anchors.assign(grid, targets.boxes, threshold=config.losses.identified)
    matched = assigned >= 0
    # one more row stands for 'no object', so that images without objects need no case of their own
    rows = torch.where(matched, assigned, len(targets.boxes))
    truth = torch.cat([targets.boxes, targets.boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]])])
    classes = F.pad(targets.classes, (0, 1), value=-1)
    ids = F.pad(targets.ids, (0, 1), value=UNKNOWN)
    offsets = box_coder.encode(truth[rows], grid, config.anchors.weights)
    return (
        (assigned != anchors.IGNORED).long(),
        matched.long(),
        classes[rows],
        offsets,
        ids[torch.where(identified >= 0, identified, len(targets.boxes))],
    )


def detection_losses(outputs: Outputs, found: Goals, config: RetinaTrackConfig) -> dict[str, Tensor]:
    """Focal and Huber loss of a batch, per matched anchor; the Huber loss is a mean over the four offsets.

    Args:
        outputs: Of the network.
        found: What they should be.
        config: Holds the shapes of the losses.
    """
    count = found.matched.sum().clamp(min=1)
    options = config.losses
    kept, matched = found.kept.bool(), found.matched.bool()
    classes = found.classes[kept]
    truth = F.one_hot(classes + 1, len(config.classes) + 1)[:, 1:].float()
    classification = focal(outputs.logits[kept], truth, alpha=options.alpha, gamma=options.gamma)
    localisation = huber(outputs.offsets[matched], found.offsets[matched], options.delta)
    return {"classification": classification / count, "localisation": localisation / (4 * count)}


def triplet_loss(
    outputs: Outputs,
    found: Goals,
    clips: Int[Tensor, " image"],
    config: RetinaTrackConfig,
) -> Tensor:
    """Batch-hard triplet loss of anchors with an identity, drawn by torch's global generator, within each clip.

    Args:
        outputs: Of the network.
        found: Says which anchors carry which identity.
        clips: Number of the clip of each image.
        config: Holds the margin.
    """
    known = found.ids != UNKNOWN
    return batch_hard(
        outputs.embeddings[known],
        found.ids[known],
        clips[:, None].expand_as(found.ids)[known],
        margin=config.losses.margin,
        generator=torch.default_generator,
        count=config.losses.triplets,
    )
