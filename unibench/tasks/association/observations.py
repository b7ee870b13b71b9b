"""The detections of a frame, seen through a frozen model: a set of points and a box for each, on every layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from heads import points
from heads.associate import CascadeOptions, Observation
from heads.bytetrack import ByteTrackOptions
from heads.qdtrack import QDTrackOptions
from heads.rsm import VARIANTS
from unibench.errors import DataError, TrackerError, UnknownNameError
from unibench.geometry import canvas
from unibench.geometry import masks as rle
from unibench.geometry.boxes import iou
from unibench.geometry.canvas import Placement
from unibench.models.frozen import FrozenModel
from unibench.records import Frame, Labels

OBSERVATIONS = ("box", "mask", "pose")
WRITTEN = ("detection", "kalman")
MOST_DETECTIONS = 2000
"""Of one frame. Every object is compared with every other one, so that 1000 boxes take a minute a frame on one core."""


@dataclass(frozen=True)
class AssociationOptions:
    """Everything of association that changes a score, beside the model."""

    observation: str = "box"
    """What a detection is: `box`, `mask` or `pose`."""
    min_score: float = 0.5
    """Detections with less are not looked at. Detections without scores count as 1."""
    letterbox: tuple[int, int] | None = (608, 1088)
    """Boxes only: height and width of the canvas that the network sees. None: the frame as it is."""
    letterbox_as_coded: bool = False
    """Map boxes to the canvas and back with the rounding of the 2021 code, a fraction of a pixel off."""
    roi_size: tuple[int, int] = (10, 4)
    """Boxes only: rows and columns of points. The 2021 code has (4, 10)."""
    max_points: int = 200
    """Masks and poses only: how many points an object has at most (400 for poses in the 2021 code)."""
    bleed: bool = False
    """Masks and poses only: a shrunk map takes cells off the object for zeros, as the 2021 code does."""
    duplicate_iou: float = 0.7
    """Masks only: a detection whose box overlaps that of an earlier one of its class by more is dropped."""
    rsm: str = "paper"
    """Variant of the similarity, see `heads.rsm`."""
    cascade: CascadeOptions = field(default_factory=CascadeOptions)
    bytetrack: ByteTrackOptions | None = None
    """Boxes only: how they are linked by motion and overlap, in place of all of the above: no pixel is read."""
    qdtrack: QDTrackOptions | None = None
    """How objects are linked by the mean of their points' vectors, of unit length, in place of RSM and the cascade."""
    write: str = "detection"
    """Boxes only: `detection`, what was matched, or `kalman`, the filter's box of the track, as the 2021 code does."""
    min_area: float = 200.0
    """Boxes only: of what would be written, only boxes with more square pixels are."""
    max_aspect: float = 1.6
    """Boxes only: of what would be written, only boxes with at most this w/h are."""

    def __post_init__(self) -> None:
        if self.bytetrack is not None and (self.observation != "box" or self.qdtrack is not None):
            raise TrackerError(
                "association: bytetrack is set, expected observation='box' and no qdtrack; leave one of them out"
            )
        for kind, name, known in (
            ("observation", self.observation, OBSERVATIONS),
            ("similarity", self.rsm, VARIANTS),
            ("output", self.write, WRITTEN),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.observation != "box" and (self.letterbox is not None or self.write == "kalman"):
            raise TrackerError(
                f"association by {self.observation}: letterbox={self.letterbox} and write={self.write!r}, expected "
                "None and 'detection'; only boxes are letter-boxed or written from the filter"
            )
        if self.write == "kalman" and not self.cascade.use_kalman:
            raise TrackerError(
                "association: write='kalman' without a filter; set write='detection' or use_kalman"
            )


@dataclass(frozen=True, eq=False)
class Observed:
    """What one layer sees of the detections of a frame."""

    rows: Int[np.ndarray, " observation"]
    """Which of the frame's detections each observation is."""
    observations: tuple[Observation, ...]


@dataclass(frozen=True)
class Grid:
    """Where the cells of a layer lie: cell i is centred on pixel offset + stride * i of the network's input."""

    stride: int
    offset: float


def network_input(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: AssociationOptions
) -> UInt8[np.ndarray, "height width 3"] | None:
    """What the network is to be shown of a frame: nothing where there are no detections, or where it is not asked."""
    if options.bytetrack is not None or not (scores(frame, options) >= options.min_score).any():
        return None
    if options.observation != "box" or options.letterbox is None:
        return frame.image
    return canvas.draw_letterbox(frame.image, _letterbox(frame, options.letterbox, options))


def observe(
    frame: Frame, maps: Mapping[str, Tensor], grids: Mapping[str, Grid], options: AssociationOptions
) -> dict[str, Observed]:
    """Describe the detections of a frame on every layer.

    Boxes and poses are in pixels of the frame, masks in feature cells of the layer, as in the 2021 code. A mask or
    pose that covers no cell is left out.

    Args:
        frame: The frame.
        maps: Layer -> (channel, h, w), what the network made of `network_input`; empty where that was None.
        grids: Layer -> where its cells lie.
        options: The protocol.

    Raises:
        DataError: Not all detections are of the kind that is asked for, or there are too many.
    """
    score = scores(frame, options)
    rows = np.flatnonzero(score >= options.min_score)
    if not len(rows):
        return {layer: Observed(rows, ()) for layer in grids}
    if len(rows) > MOST_DETECTIONS:
        raise DataError(
            f"frame {frame.index}: {len(rows)} detections with a score of at least {options.min_score}, expected at "
            f"most {MOST_DETECTIONS}; raise the protocol's min_score or thin the detections out"
        )
    label = classes(frame)
    see = _seeing(frame, rows, options)
    found = {}
    for layer, grid in grids.items():
        with torch.inference_mode():
            sets, boxes = see(maps[layer], grid)
        observations = [
            Observation(points=cells, box=box, score=float(score[row]), label=int(label[row]))
            for row, cells, box in zip(rows, sets, boxes, strict=True)
        ]
        keep = _distinct(observations, options)
        found[layer] = Observed(rows[keep], tuple(observations[index] for index in keep))
    return found


_Described = tuple[Sequence[Tensor], Float[np.ndarray, "object 4"]]
"""Points of each object, and its box in the unit of the cascade."""
_See = Callable[[Float[Tensor, "channel h w"], Grid], _Described]
"""Map of a layer and its grid -> what it shows of the objects."""


def _seeing(frame: Frame, rows: Int[np.ndarray, " observation"], options: AssociationOptions) -> _See:
    """How the objects are read off a map."""
    detections = frame.detections
    if options.observation == "box":
        return _see_boxes(frame, detections.boxes[rows], options)
    height, width = frame.image.shape[:2]
    if options.observation == "mask":
        masks = [torch.from_numpy(rle.decode(detections.masks[row])) for row in rows]
        return _see_masks(masks, None, options)
    poses = detections.keypoints[rows]
    boxes = np.stack([points.pose_box(pose).double().numpy() for pose in poses])
    return _see_masks([points.pose_mask(pose, height, width) for pose in poses], boxes, options)


def _see_boxes(frame: Frame, boxes: Float[np.ndarray, "object 4"], options: AssociationOptions) -> _See:
    placed, known = boxes, boxes
    if options.letterbox is not None:
        where = _letterbox(frame, options.letterbox, options)
        placed, known = canvas.to_canvas(boxes, where), boxes + np.tile(where.drift, 2)

    def see(features: Tensor, grid: Grid) -> _Described:
        return points.box_points(features, placed, grid.stride, grid.offset, options.roi_size), known

    return see


def _letterbox(frame: Frame, size: tuple[int, int], options: AssociationOptions) -> Placement:
    return canvas.letterbox(frame.image.shape[:2], size, as_coded=options.letterbox_as_coded)


def _see_masks(
    masks: Sequence[Tensor], boxes: Float[np.ndarray, "object 4"] | None, options: AssociationOptions
) -> _See:
    def see(features: Tensor, grid: Grid) -> _Described:
        read = [
            points.mask_points(features, mask, options.max_points, bleed=options.bleed, offset=grid.offset)
            for mask in masks
        ]
        cells = np.stack([points.mask_box(on).double().cpu().numpy() for _, on in read])
        return [found for found, _ in read], cells if boxes is None else boxes

    return see


def _distinct(observations: Sequence[Observation], options: AssociationOptions) -> list[int]:
    """Indices of the observations that cover something and, of masks, that repeat no earlier one."""
    some = [index for index, observation in enumerate(observations) if len(observation.points)]
    if options.observation != "mask" or not some:
        return some
    boxes = np.stack([observations[index].box for index in some])
    labels = np.array([observations[index].label for index in some])
    repeats = (iou(boxes, boxes) > options.duplicate_iou) & (labels[:, None] == labels)
    kept: list[int] = []
    for number in range(len(some)):
        if not repeats[number, kept].any():
            kept.append(number)
    return [some[number] for number in kept]


def scores(frame: Frame, options: AssociationOptions) -> Float[np.ndarray, " detection"]:
    """Of a frame's detections; 1 where they have none.

    Raises:
        DataError: Not all detections are of the kind that is asked for.
    """
    count = _count(frame.detections, frame.index, options.observation)
    return frame.detections.scores if len(frame.detections.scores) else np.ones(count)


def classes(frame: Frame) -> Int[np.ndarray, " detection"]:
    """Of a frame's detections; 0 where they have none."""
    given = frame.detections
    count = max(len(given.boxes), len(given.masks), len(given.keypoints))
    return given.classes if len(given.classes) else np.zeros(count, dtype=np.int64)


def _count(detections: Labels, index: int, observation: str) -> int:
    fields = {"box": "boxes", "mask": "masks", "pose": "keypoints"}
    lengths = {name: len(getattr(detections, name)) for name in (*fields.values(), "scores", "classes")}
    name = fields[observation]
    if lengths[name] < max(lengths.values()):
        raise DataError(
            f"frame {index}: detections with {lengths[name]} {name} for {max(lengths.values())} objects; "
            f"association by {observation} needs {name} for all, choose detections that have them"
        )
    return lengths[name]


def select(
    labels: Labels,
    rows: Int[np.ndarray, " row"],
    ids: Int[np.ndarray, " row"],
    *,
    boxes: Float[np.ndarray, "object 4"] | None = None,
) -> Labels:
    """Some rows of detections, in this order, with identities; fields that were empty stay empty.

    Args:
        labels: The detections of a frame.
        rows: Which of them.
        ids: An identity for each row.
        boxes: One for each detection, instead of their own.
    """
    chosen: dict[str, Any] = {"ids": ids}
    if labels.masks:
        chosen["masks"] = tuple(labels.masks[row] for row in rows)
    given = {
        "boxes": labels.boxes if boxes is None else boxes,
        "keypoints": labels.keypoints,
        "scores": labels.scores,
        "classes": labels.classes,
    }
    return Labels(**chosen, **{name: values[rows] for name, values in given.items() if len(values)})
