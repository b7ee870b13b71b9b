"""TDT at work: objects of an image, and tracks of a clip by FairMOT's association.

Reference: Yu et al., "TDT", CVPRW 2022, sections 3.2 and 3.5; Zhang et al., "FairMOT", IJCV 2021, section 3.4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from heads.associate import CascadeState, Observation, Track, step
from unibench.datasets.class_names import in_clip
from unibench.geometry import canvas
from unibench.geometry.boxes import iou
from unibench.joint import detector, embedder
from unibench.joint.layers import box_coder
from unibench.joint.system import Detections, Task
from unibench.joint.tdt.config import TdtConfig, TrackingOptions
from unibench.joint.tdt.network import Outputs
from unibench.records import Clip, Frame, Labels


@torch.inference_mode()
def detect(network: nn.Module, images: Tensor, config: TdtConfig) -> list[Detections]:
    """Find the objects of each image.

    Args:
        network: `network.Tdt`, in evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Says what counts as an object.

    Returns:
        Boxes in pixels of the images, cut at their edges; embeddings of length 1.
    """
    outputs = network(images.float())
    size = (images.shape[2], images.shape[3])
    return [_detections(outputs, index, size, config) for index in range(len(images))]


def _detections(outputs: Outputs, index: int, size: tuple[int, int], config: TdtConfig) -> Detections:
    scores = outputs.logits[index].sigmoid()
    able = (scores >= config.detections.min_score).any(dim=1).nonzero()[:, 0]
    scores = scores[able]
    boxes = box_coder.decode(outputs.offsets[index, able], outputs.anchors[able], config.anchors.weights)
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([size[1], size[0]] * 2))
    rows, classes = detector.choose(scores, boxes, config.detections)
    embeddings = _embeddings(outputs, index, able[rows])
    return Detections(boxes[rows], scores[rows, classes], classes, embeddings)


def _embeddings(outputs: Outputs, index: int, rows: Tensor) -> Float[Tensor, "row dim"]:
    return F.normalize(outputs.embeddings(torch.full_like(rows, index), rows).float())


@torch.inference_mode()
def embed_boxes(
    network: nn.Module, image: Tensor, boxes: Float[Tensor, "object 4"]
) -> Float[Tensor, "object dim"]:
    """Embed objects whose boxes are known, each by the anchor that overlaps it most.

    Args:
        network: `network.Tdt`, in evaluation mode.
        image: (3, height, width) RGB, 0 to 255.
        boxes: xyxy, pixels of the image.

    Returns:
        Embeddings of length 1.
    """
    outputs = network(image[None].float())
    if not len(boxes):
        return _embeddings(outputs, 0, torch.zeros(0, dtype=torch.int64, device=image.device))
    return _embeddings(outputs, 0, iou(outputs.anchors, boxes).argmax(dim=0))


def track(network: nn.Module, config: TdtConfig, clip: Clip, task: Task) -> Iterator[Labels]:
    """Track all objects of a clip, one frame at a time.

    Args:
        network: `network.Tdt`, in evaluation mode.
        config: Says what counts as an object, where embeddings come from, and how objects become tracks.
        clip: The video.
        task: Under the protocol `private` the network finds the objects; under `public` each frame brings them, and
            each has the embedding of the anchor that overlaps it most.

    Raises:
        UnknownNameError: The task has another protocol.
        TrackerError: The network knows none of the clip's classes.
    """
    vocabulary = in_clip(config.classes, clip) if detector.finds_objects(task) else None
    observe = observer(network, config, vocabulary)
    state = CascadeState()
    for frame in clip.frames():
        state, labels = advance(state, observe(frame), config.tracking, clip.fps)
        yield labels


def observer(
    network: nn.Module, config: TdtConfig, vocabulary: Int[np.ndarray, " class"] | None
) -> Callable[[Frame], Detections]:
    """Make the function that gives the objects of a frame, with embeddings.

    Args:
        network: `network.Tdt`, in evaluation mode.
        config: If it tracks by the teacher's embeddings, the teacher is loaded here.
        vocabulary: Number in the clip of each class of the network, -1 for none; None: the frame brings the objects.

    Returns:
        Frame -> its objects: boxes in pixels of the frame, all fields on the CPU.
    """
    source = config.tracking.embedder
    device = str(next(network.parameters()).device)
    teacher = embedder.load(config.teacher, device) if source == "teacher" else None

    def observe(frame: Frame) -> Detections:
        if vocabulary is None:
            found = _given(network, frame, config)
        else:
            image, placement = detector.on_canvas(network, frame.image, config.view)
            (on_canvas,) = detect(network, image[None], config)
            found = detector.in_frame(on_canvas, placement, vocabulary, config.tracking.min_score)
        if source == "none":
            return replace(found, embeddings=torch.zeros(len(found.boxes), 1))
        if teacher is None or not len(found.boxes):
            return found
        return replace(found, embeddings=torch.from_numpy(teacher.embed(frame.image, found.boxes.numpy())))

    return observe


def _given(network: nn.Module, frame: Frame, config: TdtConfig) -> Detections:
    """The objects that a frame brings, each with the embedding of its anchor."""
    labels, count = frame.detections, len(frame.detections.boxes)
    image, placement = detector.on_canvas(network, frame.image, config.view)
    on_canvas = torch.from_numpy(canvas.to_canvas(labels.boxes, placement)).float().to(image.device)
    return Detections(
        boxes=torch.tensor(labels.boxes),
        scores=torch.tensor(labels.scores if len(labels.scores) else np.ones(count)),
        classes=torch.tensor(labels.classes if len(labels.classes) else np.zeros(count, dtype=np.int64)),
        embeddings=embed_boxes(network, image, on_canvas).cpu(),
    )


def advance(
    state: CascadeState, objects: Detections, options: TrackingOptions, fps: float
) -> tuple[CascadeState, Labels]:
    """Identify the objects of the next frame.

    Args:
        state: After the last frame.
        objects: Of this frame, in its pixels, on the CPU.
        options: The same in every frame.
        fps: Of the clip.

    Returns:
        The state after this frame, and the labels of its confirmed tracks.
    """
    found, scores, classes = objects.boxes.numpy(), objects.scores.numpy(), objects.classes.numpy()
    observations = [
        Observation(objects.embeddings[row : row + 1], box, float(scores[row]), int(classes[row]))
        for row, box in enumerate(found)
    ]
    after, ids = step(state, observations, similarity, options.cascade, fps)
    after = smoothed(state, after, options.smoothing)
    rows = np.flatnonzero(ids)
    boxes = found[rows]
    if options.write == "kalman" and len(rows):
        filtered = {track.id: track.box for track in after.tracked}
        boxes = np.stack([filtered[one] for one in ids[rows]])
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    kept = (width * height > options.min_area) & (width <= options.max_aspect * height)
    rows, boxes = rows[kept], boxes[kept]
    return after, Labels(ids=ids[rows], boxes=boxes, scores=scores[rows], classes=classes[rows])


def similarity(first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, "track detection"]:
    """Cosine of embeddings, one point an object, of length 1."""
    return torch.cat(list(first)) @ torch.cat(list(second)).T


def smoothed(before: CascadeState, after: CascadeState, share: float) -> CascadeState:
    """Let every track that is found again keep a share of its old embedding: FairMOT's moving average.

    Args:
        before: After the last frame, smoothed.
        after: After this frame; the embeddings are this frame's.
        share: Of the old embedding, 0 to 1.
    """
    old = {one.id: one.points for one in (*before.tracked, *before.unconfirmed, *before.lost)}

    def smooth(one: Track) -> Track:
        if one.seen != before.frames or one.id not in old:
            return one
        return replace(one, points=(F.normalize(share * old[one.id][-1] + (1 - share) * one.points[-1]),))

    return replace(after, tracked=tuple(map(smooth, after.tracked)))
