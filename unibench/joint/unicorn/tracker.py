"""Unicorn at work: one set of weights follows a prompted object, segments it, and tracks all objects with their masks.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022, section 3.5.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms

from heads.bytetrack import ByteTrack, ByteTrackOptions, plausible
from heads.qdtrack import QDTrack
from unibench.datasets.class_names import in_clip
from unibench.errors import DataError, UnknownNameError
from unibench.geometry import canvas
from unibench.geometry import masks as rle
from unibench.geometry.canvas import Placement
from unibench.joint.data.sampling import ViewOptions
from unibench.joint.layers.condinst import aligned_bilinear
from unibench.joint.system import Detections, Task
from unibench.joint.unicorn.config import ASSOCIATIONS, DetectionOptions, UnicornConfig
from unibench.joint.unicorn.head import Outputs
from unibench.joint.unicorn.interaction import label_maps, propagate, sample
from unibench.joint.unicorn.network import GREY, Unicorn
from unibench.records import Clip, Frame, Labels, Rle

PROTOCOLS: Mapping[str, str] = {"sot": "box", "vos": "box", "mot": "private", "mots": "private"}
"""Family of tasks -> the protocol under which it is tracked."""


@torch.inference_mode()
def detect(network: Unicorn, images: Tensor, config: UnicornConfig) -> list[Detections]:
    """Find all objects of each image; one at a time, so that no image changes the last bits of another's numbers.

    Args:
        network: In evaluation mode.
        images: (batch, 3, height, width) RGB, 0 to 255.
        config: Says what counts as an object.

    Returns:
        Without embeddings, which take two frames, and without masks.
    """
    found = []
    for image in images:
        outputs = network.head(network.look(image[None].float()), None, "mot")
        cells, classes = choose(outputs.scores[0], outputs.boxes[0], config.detections)
        found.append(Detections(outputs.boxes[0, cells], outputs.scores[0, cells, classes], classes))
    return found


def choose(
    scores: Float[Tensor, "cell class"], boxes: Float[Tensor, "cell 4"], options: DetectionOptions
) -> tuple[Int[Tensor, " object"], Int[Tensor, " object"]]:
    """Choose the cells that become objects: each has its best class alone, and suppresses others of that class.

    Args:
        scores: 0 to 1.
        boxes: xyxy, pixels.
        options: Say which.

    Returns:
        Cell and class of each object, best first.
    """
    best, classes = scores.max(dim=1)
    able = (best >= options.min_score).nonzero()[:, 0]
    kept = able[batched_nms(boxes[able], best[able], classes[able], options.nms_iou)]
    return kept, classes[kept]


def track(network: Unicorn, config: UnicornConfig, clip: Clip, task: Task) -> Iterator[Labels]:
    """Track what the task asks for, one frame at a time.

    Args:
        network: In evaluation mode.
        config: Says what counts as an object, and how objects become tracks.
        clip: The video.
        task: `sot` and `vos`: the boxes of the prompts are followed, and of `vos` segmented; `mot` and `mots`: the
            network finds the objects.

    Raises:
        UnknownNameError: The task has another protocol.
        DataError: A prompt is of no use.
        TrackerError: The network knows none of the clip's classes.
    """
    family, protocol = task.family.name, task.protocol.name
    if PROTOCOLS.get(family) != protocol:
        raise UnknownNameError(f"protocol of unicorn for {family!r}", protocol, [PROTOCOLS.get(family, "")])
    if family == "sot":
        return _follow(network, config, clip)
    if family == "vos":
        return _segment(network, config, clip)
    return _associate(network, config, clip, masks=family == "mots")


@dataclass(frozen=True, eq=False)
class _Seen:
    """A frame as the network has seen it."""

    placement: Placement
    maps: Mapping[str, Tensor]


@torch.inference_mode()
def _look(network: Unicorn, image: UInt8[np.ndarray, "height width 3"], view: ViewOptions) -> _Seen:
    drawn, placement = on_canvas(image, view, next(network.parameters()).device)
    return _Seen(placement, network.look(drawn[None]))


def on_canvas(
    image: UInt8[np.ndarray, "height width 3"],
    view: ViewOptions,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - a value
) -> tuple[Float[Tensor, "3 rows columns"], Placement]:
    """Draw a frame at the top left of a canvas as the official networks have seen it: bilinear, no anti-aliasing.

    Args:
        image: RGB, 0 to 255.
        view: Size of the canvas.
        device: Where it is drawn.
    """
    placement = canvas.top_left((image.shape[0], image.shape[1]), (view.height, view.width))
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float()
    resized = F.interpolate(pixels, size=placement.size, mode="bilinear", align_corners=False)[0].round()
    drawn = torch.full((3, view.height, view.width), float(GREY), device=device)
    drawn[:, : placement.size[0], : placement.size[1]] = resized
    return drawn, placement


@dataclass(frozen=True, eq=False)
class _Prompts:
    """The objects that one frame gives, and that frame."""

    ids: Int[np.ndarray, " object"]
    seen: _Seen
    labels: Float[Tensor, "object h w"]
    """Their boxes at stride 8."""


def _prompts(ids: Int[np.ndarray, " object"], boxes: np.ndarray, seen: _Seen) -> _Prompts:
    on_it = torch.from_numpy(canvas.to_canvas(boxes, seen.placement)).float()
    labels = label_maps(on_it.to(seen.maps["c4"].device), seen.placement.canvas)
    return _Prompts(ids, seen, labels)


@torch.inference_mode()
def _priors(network: Unicorn, prompts: _Prompts, seen: _Seen) -> Float[Tensor, "object h w"]:
    reference, current = network.embed(prompts.seen.maps["c4"], seen.maps["c4"])
    return propagate(reference[0], current[0], prompts.labels)


def _best(outputs: Outputs, options: DetectionOptions) -> int | None:
    """The cell that is most like the prompted object; None: it is not seen."""
    scores = outputs.scores[0, :, 0]
    best = int(scores.argmax())
    return best if float(scores[best]) >= options.prompted_score else None


def _follow(network: Unicorn, config: UnicornConfig, clip: Clip) -> Iterator[Labels]:
    """The prompted object's best box in every frame, cut off at the frame; where it is not seen, the box before."""
    prompts, box, given = None, np.zeros(4), Labels()
    for frame in clip.frames():
        seen = _look(network, frame.image, config.view)
        if prompts is None:
            box = prompted_box(frame, clip.name)
            given = Labels(ids=frame.prompt.ids, boxes=frame.prompt.boxes)
            prompts = _prompts(given.ids, box[None], seen)
            yield given
            continue
        with torch.inference_mode():
            outputs = network.find(dict(seen.maps), _priors(network, prompts, seen))
            cell = _best(outputs, config.detections)
            if cell is not None:
                box = _in_frame(outputs.boxes[0, [cell]], seen.placement)[0]
        yield Labels(ids=given.ids, boxes=box[None])


def prompted_box(frame: Frame, clip: str) -> Float[np.ndarray, " 4"]:
    """The box that a frame prompts with, cut off at the frame.

    Raises:
        DataError: It is not one box, has no area, or lies outside the frame.
    """
    prompt = frame.prompt
    if len(prompt.ids) != 1 or len(prompt.boxes) != 1:
        raise DataError(
            f"clip {clip!r}: prompt of {len(prompt.ids)} ids and {len(prompt.boxes)} boxes, expected one each; "
            "give frame 0 the target's box"
        )
    height, width = frame.image.shape[:2]
    box: np.ndarray = np.clip(prompt.boxes[0].astype(np.float64), 0, [width, height, width, height])
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise DataError(
            f"clip {clip!r}: prompted box {prompt.boxes[0].tolist()}, expected an area inside the frame of "
            f"{width} x {height} pixels; correct the first truth"
        )
    return box


def _in_frame(boxes: Float[Tensor, "object 4"], placement: Placement) -> Float[np.ndarray, "object 4"]:
    """Boxes of the canvas in pixels of the frame, cut off at its border."""
    height, width = placement.frame
    found = canvas.to_frame(boxes.cpu().double().numpy(), placement)
    inside: np.ndarray = np.clip(found, 0, [width, height, width, height])
    return inside


def _segment(network: Unicorn, config: UnicornConfig, clip: Clip) -> Iterator[Labels]:
    """Masks of all objects given so far; each is prompted by its mask's box in the frame that gives it.

    The backbone runs once a frame, the comparison once for each frame that gave objects, the head once an object.
    """
    groups: list[_Prompts] = []
    for frame in clip.frames():
        seen = _look(network, frame.image, config.view)
        new = frame.prompt
        _check_masks(frame, groups, clip.name)
        with torch.inference_mode():
            found = [
                (int(id), mask)
                for group in groups
                for id, mask in zip(group.ids, _group_masks(network, config, group, seen), strict=True)
            ]
        masks = _exclusive(dict(found), frame)
        ids = np.concatenate([np.array([id for id, _ in found], dtype=np.int64), new.ids])
        if len(new.ids):
            boxes = np.stack([rle.box(mask) for mask in new.masks])
            groups.append(_prompts(new.ids, boxes, seen))
        yield Labels(ids=ids, masks=(*masks, *new.masks))


def _check_masks(frame: Frame, groups: list[_Prompts], clip: str) -> None:
    given = frame.prompt
    if len(given.masks) != len(given.ids):
        raise DataError(
            f"clip {clip!r}: {len(given.masks)} masks for {len(given.ids)} ids in the prompt of frame {frame.index}, "
            "expected one each; check its truth"
        )
    if any(np.isin(given.ids, group.ids).any() for group in groups):
        raise DataError(
            f"clip {clip!r}: frame {frame.index} gives an object again, expected new ids; check its truth"
        )
    size = frame.image.shape[:2]
    for mask in given.masks:
        if tuple(mask["size"]) != size:
            raise DataError(
                f"clip {clip!r}: a mask of the prompt has the size {tuple(mask['size'])}, expected that of the frame "
                f"{size}; check its annotation"
            )


def _group_masks(
    network: Unicorn, config: UnicornConfig, group: _Prompts, seen: _Seen
) -> list[Float[Tensor, "height width"]]:
    """Probabilities in pixels of the frame, of each object of one reference frame; zeros where it is not seen."""
    priors = _priors(network, group, seen)
    features, weights = network.head.mask_features(dict(seen.maps))
    masks = []
    for prior, label in zip(priors, group.labels, strict=True):
        outputs = network.find(dict(seen.maps), prior[None], masks=True)
        cell = _best(outputs, config.detections) if label.any() else None
        if cell is None:
            masks.append(torch.zeros(seen.placement.frame))
            continue
        cells = torch.tensor([cell], device=prior.device)
        masks.append(_full_size(network.head.masks(features[0], weights[0], outputs, 0, cells), seen)[0])
    return masks


def _full_size(
    masks: Float[Tensor, "object rows columns"], seen: _Seen
) -> Float[Tensor, "object height width"]:
    """Probabilities at stride 2 of the canvas, in pixels of the frame."""
    rows, columns = seen.placement.size
    drawn = aligned_bilinear(masks[:, None], 2)[:, :, :rows, :columns]
    return F.interpolate(drawn, size=seen.placement.frame, mode="bilinear", align_corners=False)[:, 0].cpu()


def _exclusive(found: Mapping[int, Float[Tensor, "height width"]], frame: Frame) -> list[Rle]:
    """Each pixel goes to the likeliest object or to the background, whose probability is that of no object at all.

    Pixels of objects that the frame itself gives are taken.
    """
    if not found:
        return []
    masks = torch.stack([*found.values()])
    background = (1 - masks).prod(dim=0, keepdim=True)
    label = torch.cat([background, masks]).argmax(dim=0).numpy()
    for mask in frame.prompt.masks:
        label[rle.decode(mask)] = 0
    return [rle.encode(label == row) for row in range(1, len(masks) + 1)]


@dataclass(frozen=True, eq=False)
class _Found:
    """The objects of one frame, best first, in its pixels."""

    cells: Int[Tensor, " object"]
    boxes: Float[np.ndarray, "object 4"]
    scores: Float[np.ndarray, " object"]
    classes: Int[np.ndarray, " object"]
    outputs: Outputs


@torch.inference_mode()
def _find_all(
    network: Unicorn,
    config: UnicornConfig,
    seen: _Seen,
    vocabulary: Int[np.ndarray, " class"],
    *,
    masks: bool,
) -> _Found:
    outputs = network.head(dict(seen.maps), None, "mot", masks=masks)
    cells, classes = choose(outputs.scores[0], outputs.boxes[0], config.detections)
    scores = outputs.scores[0, cells, classes].cpu().double().numpy()
    known = vocabulary[classes.cpu().numpy()]
    kept = np.flatnonzero(known >= 0)
    cells = cells[torch.from_numpy(kept).to(cells.device)]
    return _Found(
        cells, _in_frame(outputs.boxes[0, cells], seen.placement), scores[kept], known[kept], outputs
    )


def _associate(network: Unicorn, config: UnicornConfig, clip: Clip, *, masks: bool) -> Iterator[Labels]:
    """All objects of the network's classes, with their identities, and of `mots` their masks."""
    vocabulary = in_clip(config.classes, clip)
    options = ASSOCIATIONS[config.tracking.mots if masks else config.tracking.mot]
    if isinstance(options, ByteTrackOptions):
        own = options.for_clip(clip.name)
        tracker: ByteTrack | QDTrack = ByteTrack(own)
    else:
        tracker = QDTrack(options)
    last = None
    for frame in clip.frames():
        seen = _look(network, frame.image, config.view)
        found = _find_all(network, config, seen, vocabulary, masks=masks)
        if isinstance(tracker, ByteTrack):
            tracker, ids, boxes = tracker.step(found.boxes, found.scores, found.classes)
            rows = np.flatnonzero(ids)
            rows = rows[plausible(boxes[rows], tracker.options)]
        else:
            tracker, ids, last = _by_embedding(network, config, tracker, found, seen, last)
            boxes = found.boxes
            rows = np.flatnonzero(ids)
        sides = boxes[rows, 2:] - boxes[rows, :2]
        rows = rows[sides.prod(axis=1) > config.tracking.min_area]
        rows = rows[np.argsort(ids[rows], kind="stable")]
        drawn = _masks_of(network, config, found, rows, seen) if masks else ()
        yield Labels(
            ids=ids[rows],
            boxes=boxes[rows],
            scores=found.scores[rows],
            classes=found.classes[rows],
            masks=drawn,
        )


@torch.inference_mode()
def _by_embedding(
    network: Unicorn, config: UnicornConfig, tracker: QDTrack, found: _Found, seen: _Seen, last: _Seen | None
) -> tuple[QDTrack, Int[np.ndarray, " object"], _Seen | None]:
    """QDTrack's step; embeddings come from the comparison with the last frame that had objects, at first with itself.

    Returns:
        The tracker, the ids, and the last frame with objects.
    """
    ids = np.zeros(len(found.boxes), dtype=np.int64)
    able = np.flatnonzero(found.scores > config.tracking.min_score)
    if not len(able):
        return (
            tracker.step(found.boxes[:0], found.scores[:0], found.classes[:0], np.zeros((0, 1)))[0],
            ids,
            last,
        )
    _, current = network.embed((last or seen).maps["c4"], seen.maps["c4"])
    cells = found.cells[torch.from_numpy(able).to(found.cells.device)]
    embeddings = sample(current[0], found.outputs.boxes[0, cells]).cpu().double().numpy()
    tracker, ids[able] = tracker.step(found.boxes[able], found.scores[able], found.classes[able], embeddings)
    return tracker, ids, seen


@torch.inference_mode()
def _masks_of(
    network: Unicorn, config: UnicornConfig, found: _Found, rows: Int[np.ndarray, " object"], seen: _Seen
) -> tuple[Rle, ...]:
    """Masks of some objects; a pixel that several claim goes to the first one."""
    if not len(rows):
        return ()
    features, weights = network.head.mask_features(dict(seen.maps))
    taken: Bool[np.ndarray, "height width"] = np.zeros(seen.placement.frame, dtype=bool)
    drawn = []
    for row in rows.tolist():
        cells = found.cells[row : row + 1]
        probability = _full_size(network.head.masks(features[0], weights[0], found.outputs, 0, cells), seen)
        mask = (probability[0] > config.tracking.mask).numpy() & ~taken
        taken |= mask
        drawn.append(rle.encode(mask))
    return tuple(drawn)
