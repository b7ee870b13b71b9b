"""RetinaTrack at work: objects of an image, and tracks of a clip.

Reference: Lu et al., "RetinaTrack", CVPR 2020, section 3.5.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from heads.track_store import Observations, Store, step
from unibench.datasets.class_names import in_clip
from unibench.geometry import canvas
from unibench.geometry.boxes import iou
from unibench.joint import detector, embedder
from unibench.joint.layers import box_coder
from unibench.joint.retinatrack.config import RetinaTrackConfig
from unibench.joint.retinatrack.network import Outputs
from unibench.joint.system import Detections, Task
from unibench.records import Clip, Frame, Labels


@torch.inference_mode()
def detect(network: nn.Module, images: Tensor, config: RetinaTrackConfig) -> list[Detections]:
    """Find the objects of each image; one at a time, so that no image changes the last bits of another's numbers.

    Args:
        network: `network.RetinaTrack`, in evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Says what counts as an object.
    """
    return [_detections(network(image[None]), config) for image in images]


def track(network: nn.Module, config: RetinaTrackConfig, clip: Clip, task: Task) -> Iterator[Labels]:
    """Track all objects of a clip, one frame at a time.

    Args:
        network: `network.RetinaTrack`, in evaluation mode.
        config: Says what counts as an object, and how objects become tracks.
        clip: The video.
        task: Under the protocol `private` the network finds the objects; under `public` each frame brings them, and
            each has the embedding of the anchor that overlaps it most.

    Raises:
        UnknownNameError: The task has another protocol.
        TrackerError: The network knows none of the clip's classes.
    """
    vocabulary = in_clip(config.classes, clip) if detector.finds_objects(task) else None
    device = str(next(network.parameters()).device)
    reid = embedder.load(config.tracking.reid, device) if config.tracking.reid else None
    store = Store()
    for frame in clip.frames():
        found = _observe(network, config, frame, vocabulary)
        boxes, classes = found.boxes.numpy(), found.classes.numpy()
        embeddings = reid.embed(frame.image, boxes) if reid else found.embeddings.numpy()
        store, ids = step(
            store, Observations(boxes, classes, embeddings.astype(np.float64)), config.tracking.store
        )
        yield Labels(ids=ids, boxes=boxes, scores=found.scores.numpy(), classes=classes)


def _detections(outputs: Outputs, config: RetinaTrackConfig) -> Detections:
    scores = outputs.logits[0].sigmoid()
    boxes = box_coder.decode(outputs.offsets[0], outputs.anchors, config.anchors.weights)
    rows, classes = detector.choose(scores, boxes, config.detections)
    return Detections(boxes[rows], scores[rows, classes], classes, outputs.embeddings[0, rows])


def _observe(
    network: nn.Module,
    config: RetinaTrackConfig,
    frame: Frame,
    vocabulary: Int[np.ndarray, " class"] | None,
) -> Detections:
    """The objects that the network finds, inside the frame and of the clip's classes, or those that it brings."""
    if vocabulary is None:
        return _given(network, config, frame)
    image, placement = detector.on_canvas(network, frame.image, config.view)
    (on_canvas,) = detect(network, image[None], config)
    found = detector.in_frame(on_canvas, placement, vocabulary, config.tracking.min_score)
    height, width = placement.frame
    return replace(found, boxes=found.boxes.clamp(min=0).minimum(found.boxes.new_tensor([width, height] * 2)))


@torch.inference_mode()
def _given(network: nn.Module, config: RetinaTrackConfig, frame: Frame) -> Detections:
    """The objects that a frame brings, each with the embedding of the anchor that overlaps it most."""
    labels = frame.detections
    image, placement = detector.on_canvas(network, frame.image, config.view)
    outputs: Outputs = network(image[None])
    on_canvas = torch.from_numpy(canvas.to_canvas(labels.boxes, placement)).to(outputs.anchors)
    rows = iou(on_canvas, outputs.anchors).argmax(dim=1)
    classes = labels.classes if len(labels.classes) else np.zeros(len(labels.boxes), dtype=np.int64)
    return Detections(
        boxes=torch.tensor(labels.boxes),
        scores=torch.tensor(labels.scores),
        classes=torch.tensor(classes),
        embeddings=outputs.embeddings[0, rows].cpu(),
    )
