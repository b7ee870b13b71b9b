"""TrIVD at work: objects of an image, and tracks of whatever a clip's vocabulary names.

Reimplementation from the paper; [G] choices are listed in the package's docstring.

Reference: Liu et al., "TrIVD: A Unified Model for Tracking and Image-Video Detection Has More Power", sections 3.3 and
A.5; Meinhardt et al., "TrackFormer", CVPR 2022.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from heads import trackqueries
from unibench.datasets.class_names import meaning
from unibench.errors import UnknownNameError
from unibench.geometry import canvas
from unibench.geometry.box_tensors import corners
from unibench.geometry.canvas import Placement
from unibench.joint import detector
from unibench.joint.data.sampling import ViewOptions
from unibench.joint.layers.deformable_transformer import TrackQueries
from unibench.joint.system import Detections, Task
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Maps, Outputs, Trivd, Words
from unibench.records import Clip, Frame, Labels


@torch.inference_mode()
def detect(network: Trivd, images: Tensor, config: TrivdConfig) -> list[Detections]:
    """Find the objects of each image; one at a time, so that no image changes the last bits of another's numbers.

    Args:
        network: In evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Its classes are the prompt; it says what counts as an object.

    Returns:
        Boxes in pixels of the images, cut at their edges; each query is an object of its best class alone.
    """
    return [detect_clip(network, image[None], config) for image in images]


@torch.inference_mode()
def detect_clip(network: Trivd, frames: Tensor, config: TrivdConfig) -> Detections:
    """Find the objects of the frame around which a clip lies.

    Args:
        network: In evaluation mode.
        frames: (frame, 3, height, width) RGB, 0 to 255; their order plays no part.
        config: As for `detect`.

    Returns:
        As of `detect`.
    """
    maps = network.look(frames[None])
    outputs = network(maps, maps, network.read(config.classes))
    scores, classes = outputs.scores[0].max(dim=1)
    rows = scores.argsort(descending=True, stable=True)[: config.detections.total]
    rows = rows[scores[rows] >= config.detections.min_score]
    boxes = _on_canvas(outputs, (frames.shape[2], frames.shape[3]))
    return Detections(boxes[rows], scores[rows], classes[rows])


def track(network: Trivd, config: TrivdConfig, clip: Clip, task: Task) -> Iterator[Labels]:
    """Track all objects that the clip's vocabulary names, one frame at a time.

    Args:
        network: In evaluation mode.
        config: Says how queries become tracks.
        clip: The video; without a vocabulary, the config's classes are looked for.
        task: Under the protocol `private` the network finds the objects; under `public` no track begins without a box
            of the frame's detections.

    Raises:
        UnknownNameError: The task is another one.
        UnibenchError: The vocabulary makes no prompt.
    """
    if task.family.name != "mot":
        raise UnknownNameError("family of tasks that trivd tracks", task.family.name, ["mot"])
    private = detector.finds_objects(task)
    names, numbers = vocabulary(config.classes, clip)
    with torch.inference_mode():
        words = network.read(names)
    state, before = trackqueries.TrackQueryState(config.tracking), None
    for frame in clip.frames():
        state, before, labels = _step(network, config.view, words, state, before, frame, private=private)
        yield Labels(
            ids=labels.ids, boxes=labels.boxes, scores=labels.scores, classes=numbers[labels.classes]
        )


def vocabulary(classes: Sequence[str], clip: Clip) -> tuple[tuple[str, ...], Int[np.ndarray, " class"]]:
    """Say what is looked for in a clip.

    Args:
        classes: That the network has learnt; where one means the same as a name of the clip, it takes its place.
        clip: Its vocabulary may have empty names, which no object has.

    Returns:
        Names for the prompt; the number of each in the clip's vocabulary.
    """
    learnt = {meaning(name): name for name in classes}
    wanted = clip.vocabulary or classes
    numbers = np.array([number for number, name in enumerate(wanted) if name], dtype=np.int64)
    return tuple(learnt.get(meaning(wanted[number]), wanted[number]) for number in numbers), numbers


@torch.inference_mode()
def _step(
    network: Trivd,
    view: ViewOptions,
    words: Words,
    state: trackqueries.TrackQueryState,
    before: Maps | None,
    frame: Frame,
    *,
    private: bool,
) -> tuple[trackqueries.TrackQueryState, Maps, Labels]:
    """Ask all queries in the next frame, which is its own previous one if it is the first.

    Returns:
        The tracks after it, its maps, and the labels of the tracks found in it.
    """
    image, placement = detector.on_canvas(network, frame.image, view)
    maps = network.look(image[None, None])
    outputs = network(before or maps, maps, words, _asked(state.asked, placement, image.device))
    height, width = placement.frame
    boxes = canvas.to_frame(_on_canvas(outputs, placement.canvas).cpu().double().numpy(), placement)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    likely = outputs.scores[0].cpu().double().numpy()
    scores, classes = likely.max(axis=1), likely.argmax(axis=1)
    public = None if private else frame.detections.boxes
    state, ids = state.step(boxes, scores, classes, outputs.hidden[0].float().cpu().numpy(), public)
    rows = np.flatnonzero(ids)
    rows = rows[np.argsort(ids[rows], kind="stable")]
    return state, maps, Labels(ids=ids[rows], boxes=boxes[rows], scores=scores[rows], classes=classes[rows])


def _asked(asked: trackqueries.Tracks, placement: Placement, device: torch.device) -> TrackQueries | None:
    """Queries of the tracks that are asked for."""
    if not len(asked.ids):
        return None
    boxes = canvas.to_canvas(asked.boxes, placement)
    rows, columns = placement.canvas
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / [columns, rows]
    return TrackQueries(
        torch.from_numpy(asked.embeddings)[None].to(device),
        torch.from_numpy(centres)[None].float().to(device),
    )


def _on_canvas(outputs: Outputs, size: tuple[int, int]) -> Float[Tensor, "query 4"]:
    """Boxes of the first image, xyxy, pixels of the canvas, cut at its edges."""
    sides = outputs.boxes.new_tensor([size[1], size[0]] * 2)
    return (corners(outputs.boxes[-1, 0]) * sides).clamp(min=0).minimum(sides)
