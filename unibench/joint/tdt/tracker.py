"""TDT at work: objects of an image, and tracks of a clip by FairMOT's association.

Reference: Yu et al., "TDT", CVPRW 2022, sections 3.2 and 3.5; Zhang et al., "FairMOT", IJCV 2021, section 3.4.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from heads.associate import CascadeState, Observation, Track, step
from unibench.geometry import canvas as view
from unibench.joint import embedder
from unibench.joint.data.class_names import in_clip
from unibench.joint.layers import box_coder
from unibench.joint.system import Found
from unibench.joint.tdt.config import TdtConfig, TrackingOptions
from unibench.joint.tdt.network import Outputs
from unibench.records import Clip, Frame, Labels


@torch.inference_mode()
def detect(network: nn.Module, images: Tensor, config: TdtConfig) -> list[Found]:
    """Find what is in each image.

    Args:
        network: `network.Tdt`, in evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Says what counts as an object.

    Returns:
        Boxes in pixels of the images, cut at their edges; embeddings of length 1.
    """
    outputs = network(images.float())
    return [
        _found(outputs, index, (images.shape[2], images.shape[3]), config) for index in range(len(images))
    ]


def _found(outputs: Outputs, index: int, size: tuple[int, int], config: TdtConfig) -> Found:
    options = config.detections
    scores = outputs.logits[index].sigmoid()
    able = (scores >= options.min_score).any(dim=1).nonzero()[:, 0]
    scores = scores[able]
    places = box_coder.decode(outputs.offsets[index, able], outputs.anchors[able], config.anchors.weights)
    places = places.clamp(min=0).minimum(places.new_tensor([size[1], size[0]] * 2))
    named = scores.argmax(dim=1)
    rows, classes = box_coder.select(
        scores.amax(dim=1, keepdim=True) if options.across_classes else scores,
        places,
        min_score=options.min_score,
        iou=options.nms_iou,
        per_class=options.per_class,
        total=options.total,
    )
    classes = named[rows] if options.across_classes else classes
    return Found(places[rows], scores[rows, classes], classes, _embeddings(outputs, index, able[rows]))


def _embeddings(outputs: Outputs, index: int, rows: Tensor) -> Float[Tensor, "row dim"]:
    return F.normalize(outputs.embeddings(torch.full_like(rows, index), rows).float())


@torch.inference_mode()
def sample(
    network: nn.Module, image: Tensor, given: Float[Tensor, "object 4"]
) -> Float[Tensor, "object dim"]:
    """Embed objects that are given, each by the anchor that overlaps it most.

    Args:
        network: `network.Tdt`, in evaluation mode.
        image: (3, height, width) RGB, 0 to 255.
        given: Boxes xyxy, pixels of the image.

    Returns:
        Embeddings of length 1.
    """
    outputs = network(image[None].float())
    if not len(given):
        return _embeddings(outputs, 0, torch.zeros(0, dtype=torch.int64, device=image.device))
    return _embeddings(outputs, 0, box_coder.iou(outputs.anchors, given).argmax(dim=0))


@dataclass(frozen=True, eq=False)
class Seen:
    """The objects of one frame; boxes in its own pixels."""

    boxes: Float[np.ndarray, "object 4"]
    scores: Float[np.ndarray, " object"]
    classes: np.ndarray
    embeddings: Float[Tensor, "object dim"]


Look = Callable[[Frame], Seen]


def track(network: nn.Module, config: TdtConfig, clip: Clip, protocol_name: str) -> Iterator[Labels]:
    """Track all objects of a clip, one frame at a time.

    Args:
        network: `network.Tdt`, in evaluation mode.
        config: Says what counts as an object, where embeddings come from, and how objects become tracks.
        clip: The video.
        protocol_name: `private`: the network finds the objects. `public`: they are given, and each has the embedding
            of the anchor that overlaps it most.

    Raises:
        TrackerError: The network knows none of the clip's classes.
    """
    look = looking(network, config, in_clip(config.classes, clip) if protocol_name == "private" else None)
    state = CascadeState()
    for frame in clip.frames():
        state, labels = advance(state, look(frame), config.tracking, clip.fps)
        yield labels


def looking(network: nn.Module, config: TdtConfig, vocabulary: Int[np.ndarray, " class"] | None) -> Look:
    """Make the function that says what is in a frame.

    Args:
        network: `network.Tdt`, in evaluation mode.
        config: If its tracking embeds by the teacher, that is loaded here.
        vocabulary: Number in the clip of each class of the network, -1 for none; None: objects are given.
    """
    place = next(network.parameters()).device
    canvas = (config.view.height, config.view.width)
    mode = config.tracking.embedder
    embed = embedder.load(config.teacher, str(place)).embed if mode == "teacher" else None

    def look(frame: Frame) -> Seen:
        image, where = view.place(frame.image, canvas)
        image = image.to(place)
        if vocabulary is None:
            seen = _given(network, image, where, frame)
        else:
            seen = _own(network, image, where, vocabulary, config)
        if mode == "none":
            return replace(seen, embeddings=seen.embeddings.new_zeros(len(seen.boxes), 1))
        if embed is None or not len(seen.boxes):
            return seen
        return replace(seen, embeddings=torch.from_numpy(embed(frame.image, seen.boxes)))

    return look


def _own(
    network: nn.Module,
    image: UInt8[Tensor, "3 h w"],
    where: view.View,
    vocabulary: Int[np.ndarray, " class"],
    config: TdtConfig,
) -> Seen:
    found = detect(network, image[None], config)[0]
    classes = vocabulary[found.classes.cpu().numpy()]
    keep = (found.scores >= config.tracking.min_score) & torch.from_numpy(classes >= 0).to(image.device)
    places = view.back(found.boxes[keep].double().cpu().numpy(), where)
    return Seen(
        places,
        found.scores[keep].double().cpu().numpy(),
        classes[keep.cpu().numpy()],
        found.embeddings[keep],
    )


def _given(network: nn.Module, image: UInt8[Tensor, "3 h w"], where: view.View, frame: Frame) -> Seen:
    known = frame.detections
    count = len(known.boxes)
    places = torch.from_numpy(view.forth(known.boxes, where)).float().to(image.device)
    return Seen(
        known.boxes,
        known.scores if len(known.scores) else np.ones(count),
        known.classes if len(known.classes) else np.zeros(count, dtype=np.int64),
        sample(network, image, places),
    )


def advance(
    state: CascadeState, seen: Seen, options: TrackingOptions, fps: float
) -> tuple[CascadeState, Labels]:
    """Identify the objects of the next frame.

    Args:
        state: After the last frame.
        seen: What is in this one.
        options: The same in every frame.
        fps: Of the clip.

    Returns:
        The state after this frame, and the labels of its confirmed tracks.
    """
    observations = [
        Observation(seen.embeddings[row : row + 1], box, float(seen.scores[row]), int(seen.classes[row]))
        for row, box in enumerate(seen.boxes)
    ]
    after, ids = step(state, observations, similarity, options.cascade, fps)
    after = smoothed(state, after, options.smoothing)
    rows = np.flatnonzero(ids)
    places = seen.boxes[rows]
    if options.write == "kalman" and len(rows):
        filtered = {track.id: track.box for track in after.tracked}
        places = np.stack([filtered[one] for one in ids[rows]])
    width, height = (places[:, 2:] - places[:, :2]).T
    kept = (width * height > options.min_area) & (width <= options.max_aspect * height)
    rows, places = rows[kept], places[kept]
    return after, Labels(ids=ids[rows], boxes=places, scores=seen.scores[rows], classes=seen.classes[rows])


def similarity(first: Sequence[Tensor], second: Sequence[Tensor]) -> Float[Tensor, "track detection"]:
    """Cosine of embeddings, one point an object, of length 1."""
    return torch.cat(list(first)) @ torch.cat(list(second)).T


def smoothed(before: CascadeState, after: CascadeState, share: float) -> CascadeState:
    """Let every track that is seen again keep a share of its old embedding: FairMOT's moving average.

    Args:
        before: After the last frame, smoothed.
        after: After this frame; the embeddings are those just seen.
        share: Of the old embedding, 0 to 1.
    """
    old = {one.id: one.points for one in (*before.tracked, *before.unconfirmed, *before.lost)}

    def smooth(one: Track) -> Track:
        if one.seen != before.frames or one.id not in old:
            return one
        return replace(one, points=(F.normalize(share * old[one.id][-1] + (1 - share) * one.points[-1]),))

    return replace(after, tracked=tuple(map(smooth, after.tracked)))
