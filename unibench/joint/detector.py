"""What the detectors of two or more systems share: the choice of objects, the canvas, and the way back to the frame."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from unibench.errors import UnknownNameError
from unibench.geometry import canvas
from unibench.geometry.canvas import Placement
from unibench.joint.data.sampling import ViewOptions
from unibench.joint.layers import box_coder
from unibench.joint.ranges import Count, Share
from unibench.joint.system import Detections, Task

PROTOCOLS: Mapping[str, bool] = {"private": True, "public": False}
"""Protocols of joint trackers -> whether the tracker finds the objects itself."""


@dataclass(frozen=True)
class DetectionOptions:
    """How the outputs of all anchors become objects."""

    min_score: Share
    """Near zero for average precision."""
    nms_iou: Share
    across_classes: bool
    """Each anchor has its best class alone, and objects suppress each other whatever their class."""
    per_class: Count
    total: Count


def finds_objects(task: Task) -> bool:
    """Say whether a tracker finds the objects itself (`private`) or each frame brings its detections (`public`).

    Raises:
        UnknownNameError: The task's protocol is neither.
    """
    name = task.protocol.name
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol of a joint tracker", name, PROTOCOLS)
    return PROTOCOLS[name]


def choose(
    scores: Float[Tensor, "anchor class"], boxes: Float[Tensor, "anchor 4"], options: DetectionOptions
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " kept"]]:
    """Choose the anchors that become objects.

    Args:
        scores: 0 to 1.
        boxes: xyxy, pixels.
        options: Say which.

    Returns:
        Row and class of each object, best first.
    """
    rows, classes = box_coder.select(
        scores.amax(dim=1, keepdim=True) if options.across_classes else scores,
        boxes,
        min_score=options.min_score,
        iou=options.nms_iou,
        per_class=options.per_class,
        total=options.total,
    )
    return rows, scores.argmax(dim=1)[rows] if options.across_classes else classes


def on_canvas(
    network: nn.Module, image: UInt8[np.ndarray, "height width 3"], view: ViewOptions
) -> tuple[UInt8[Tensor, "3 rows columns"], Placement]:
    """Draw an image on the canvas of a network, on the network's device.

    Args:
        network: Has parameters.
        image: RGB, 0 to 255.
        view: Size of the canvas.

    Returns:
        The canvas, and where the image lies on it.
    """
    placement = canvas.top_left((image.shape[0], image.shape[1]), (view.height, view.width))
    drawn = canvas.draw_top_left(image, placement.scale[0], placement.canvas)
    return drawn.to(next(network.parameters()).device), placement


def in_frame(
    found: Detections, placement: Placement, vocabulary: Int[np.ndarray, " class"], min_score: float
) -> Detections:
    """Bring what a network finds on its canvas back to the frame and to the classes of the clip.

    Args:
        found: In pixels of the canvas, with classes of the network; without masks.
        placement: Where the frame lies on the canvas.
        vocabulary: Number in the clip of each class of the network; objects of class -1 are left out.
        min_score: Objects below it are left out.

    Returns:
        Boxes in pixels of the frame, not cut at its border; on the CPU, boxes and scores in double precision.
    """
    classes = torch.from_numpy(vocabulary)[found.classes.cpu()]
    kept = (found.scores >= min_score).cpu() & (classes >= 0)
    return Detections(
        boxes=canvas.to_frame(found.boxes.cpu()[kept].double(), placement),
        scores=found.scores.cpu()[kept].double(),
        classes=classes[kept],
        embeddings=found.embeddings.cpu()[kept],
    )
