"""TDT's loss: focal loss of the classes, Huber loss of the boxes, squared error of the embeddings.

Reference: Yu et al., "TDT", CVPRW 2022, section 3.4; what it leaves open is as in TensorFlow Model Garden's RetinaNet.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.errors import TrainingError
from unibench.joint.layers import anchors, box_coder
from unibench.joint.layers.losses import focal, huber
from unibench.joint.system import Batch, Targets
from unibench.joint.tdt.config import TdtConfig
from unibench.joint.tdt.network import Outputs


def losses(network: nn.Module, batch: Batch, config: TdtConfig, stage: str) -> dict[str, Tensor]:
    """Say how far the network is from truth and teacher: the weighted terms to be added up.

    Args:
        network: `network.Tdt`, or what wraps it.
        batch: Stills, or frames of clips; time makes no difference.
        config: Holds the weights.
        stage: Of the training; all learn the same.

    Raises:
        TrainingError: There are no embeddings to learn, or they are too short.
    """
    targets = [one for clip in batch.targets for one in clip]
    outputs: Outputs = network(batch.images.flatten(0, 1).float())
    options = config.anchors
    assigned = torch.stack([
        anchors.assign(outputs.anchors, one.boxes, threshold=options.matched, force_best=True, ignored=one.ignored)
        for one in targets
    ])  # fmt: skip
    classification, localisation = _detection(outputs, assigned, targets, config)
    terms = {
        "classification": config.losses.classification * classification,
        "localisation": config.losses.localisation * localisation,
    }
    if config.losses.embedding:
        terms["embedding"] = config.losses.embedding * _distillation(outputs, assigned, targets, config)
    return terms


def _detection(
    outputs: Outputs, assigned: Int[Tensor, "batch anchor"], targets: Sequence[Targets], config: TdtConfig
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Focal and Huber loss for each assigned anchor of the batch, and one more; the latter a mean of four offsets."""
    images, rows = (assigned >= 0).nonzero().T
    objects = [assigned[index][assigned[index] >= 0] for index in range(len(targets))]
    truth = torch.cat([one.boxes[index] for one, index in zip(targets, objects, strict=True)])
    classes = torch.cat([one.classes[index] for one, index in zip(targets, objects, strict=True)])
    goals = torch.zeros_like(outputs.logits)
    goals[images, rows, classes] = 1
    kept = assigned != anchors.IGNORED
    options, count = config.losses, len(rows) + 1
    classification = focal(outputs.logits[kept], goals[kept], alpha=options.alpha, gamma=options.gamma)
    offsets = box_coder.encode(truth, outputs.anchors[rows], config.anchors.weights)
    localisation = huber(outputs.offsets[images, rows], offsets, options.delta)
    return classification / count, localisation / (4 * count)


def _distillation(
    outputs: Outputs, assigned: Int[Tensor, "batch anchor"], targets: Sequence[Targets], config: TdtConfig
) -> Float[Tensor, ""]:
    """Squared distance from the teacher's embedding: mean over the assigned anchors of an image, then over images."""
    dim = config.network.dim
    for one in targets:
        if len(one.boxes) and one.embeddings.shape[1] < dim:
            raise TrainingError(
                f"tdt: {one.embeddings.shape[1]} elements of a teacher's embeddings, expected {dim} (network.dim) or "
                "more; make them with --prepare, choose another teacher, or set losses.embedding = 0"
            )
    images, rows = (assigned >= 0).nonzero().T
    goals = torch.cat([
        one.embeddings[found[found >= 0]][:, :dim] if len(one.boxes) else one.boxes.new_zeros(0, dim)
        for one, found in zip(targets, assigned, strict=True)
    ])  # fmt: skip
    error = F.mse_loss(outputs.embeddings(images, rows).float(), goals, reduction="none").sum(dim=1)
    counts = torch.bincount(images, minlength=len(targets))
    return (error / counts[images]).sum() / len(targets)
