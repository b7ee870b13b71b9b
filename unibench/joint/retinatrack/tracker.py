"""RetinaTrack at work: objects of an image, and tracks of a clip.

Reference: Lu et al., "RetinaTrack", CVPR 2020, section 3.5.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from unibench.geometry import canvas
from unibench.geometry.canvas import View
from unibench.joint import embedder
from unibench.joint.data.class_names import in_clip
from unibench.joint.layers import box_coder
from unibench.joint.retinatrack.config import RetinaTrackConfig
from unibench.joint.retinatrack.network import Outputs
from unibench.joint.retinatrack.store import Sights, Store, step
from unibench.joint.system import Found
from unibench.records import Clip, Frame, Labels


@torch.inference_mode()
def detect(network: nn.Module, images: Tensor, config: RetinaTrackConfig) -> list[Found]:
    """Find what is in each image; one at a time, so that no image changes the last bits of another's numbers.

    Args:
        network: `network.RetinaTrack`, in evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Says what counts as an object.
    """
    return [_found(network(image[None]), config) for image in images]


def track(network: nn.Module, config: RetinaTrackConfig, clip: Clip, protocol_name: str) -> Iterator[Labels]:
    """Track all objects of a clip, one frame at a time.

    Args:
        network: `network.RetinaTrack`, in evaluation mode.
        config: Says what counts as an object, and how objects become tracks.
        clip: The video.
        protocol_name: `private`: the network finds the objects. `public`: they are given, and each has the embedding of
            the anchor that overlaps it most.

    Raises:
        TrackerError: The network knows none of the clip's classes.
    """
    see = _given if protocol_name == "public" else _own
    vocabulary = in_clip(config.classes, clip) if see is _own else np.zeros(0, dtype=np.int64)
    store = Store()
    device = next(network.parameters()).device
    reid = embedder.load(config.tracking.reid, str(device)) if config.tracking.reid else None
    for frame in clip.frames():
        labels, embeddings = see(network, config, frame, vocabulary)
        if reid:
            embeddings = reid.embed(frame.image, labels.boxes).astype(np.float64)
        store, ids = step(store, Sights(labels.boxes, labels.classes, embeddings), config.tracking.store)
        yield replace(labels, ids=ids)


def _found(outputs: Outputs, config: RetinaTrackConfig) -> Found:
    options = config.detections
    scores = outputs.logits[0].sigmoid()
    best, kinds = scores.max(dim=1)
    places = box_coder.decode(outputs.offsets[0], outputs.anchors, config.anchors.weights)
    rows, classes = box_coder.select(
        best[:, None] if options.across_classes else scores,
        places,
        min_score=options.min_score,
        iou=options.nms_iou,
        per_class=options.per_class,
        total=options.total,
    )
    if options.across_classes:
        classes = kinds[rows]
    return Found(places[rows], scores[rows, classes], classes, outputs.embeddings[0, rows])


def _own(
    network: nn.Module, config: RetinaTrackConfig, frame: Frame, vocabulary: Int[np.ndarray, " class"]
) -> tuple[Labels, np.ndarray]:
    """What the network finds, in pixels of the frame, of the clip's classes."""
    image, place = _placed(network, config, frame)
    found = detect(network, image, config)[0]
    classes = vocabulary[found.classes.cpu().numpy()]
    kept = (found.scores >= config.tracking.min_score).cpu().numpy() & (classes >= 0)
    places = canvas.back(found.boxes.double(), place).cpu().numpy()[kept]
    labels = Labels(
        boxes=np.clip(places, 0, [place.width, place.height] * 2),
        scores=found.scores.double().cpu().numpy()[kept],
        classes=classes[kept],
    )
    return labels, found.embeddings.double().cpu().numpy()[kept]


@torch.inference_mode()
def _given(
    network: nn.Module, config: RetinaTrackConfig, frame: Frame, _: Int[np.ndarray, " class"]
) -> tuple[Labels, np.ndarray]:
    """What is given, and the embedding of the anchor that overlaps each object most."""
    labels = frame.detections
    classes = labels.classes if len(labels.classes) else np.zeros(len(labels.boxes), dtype=np.int64)
    image, place = _placed(network, config, frame)
    outputs: Outputs = network(image)
    places = torch.from_numpy(canvas.forth(labels.boxes, place)).to(outputs.anchors)
    rows = box_coder.iou(places, outputs.anchors).argmax(dim=1)
    return replace(labels, classes=classes), outputs.embeddings[0, rows].double().cpu().numpy()


def _placed(network: nn.Module, config: RetinaTrackConfig, frame: Frame) -> tuple[Tensor, View]:
    """The frame as the network sees it: one image on its canvas."""
    image, place = canvas.place(frame.image, (config.view.height, config.view.width))
    return image[None].to(next(network.parameters()).device), place
