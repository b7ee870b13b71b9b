"""The detections of a frame, seen through a frozen model: a set of points and a box for each, on every layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

from heads import points
from heads.associate import CascadeOptions, Observation
from heads.rsm import VARIANTS
from unibench import rle
from unibench.errors import DataError, TrackerError, UnknownNameError
from unibench.models import FrozenModel
from unibench.records import Frame, Labels
from unibench.trackers import letterbox

OBSERVATIONS = ("box", "mask", "pose")
WRITTEN = ("detection", "kalman")


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
    write: str = "detection"
    """Boxes only: `detection`, what was matched, or `kalman`, the filter's box of the track, as the 2021 code does."""
    min_area: float = 200.0
    """Boxes only: of what would be written, only boxes with more square pixels are."""
    max_aspect: float = 1.6
    """Boxes only: of what would be written, only boxes with at most this w/h are."""

    def __post_init__(self) -> None:
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


def observe(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: AssociationOptions
) -> dict[str, Observed]:
    """Describe the detections of a frame on every layer, all from one pass of the network (none without detections).

    Boxes and poses are in pixels of the frame, masks in feature cells of the layer, as in the 2021 code. A mask or
    pose that covers no cell is left out.

    Raises:
        DataError: Not all detections are of the kind that is asked for.
    """
    detections = frame.detections
    count = _count(detections, frame.index, options.observation)
    scores = detections.scores if len(detections.scores) else np.ones(count)
    classes = detections.classes if len(detections.classes) else np.zeros(count, dtype=np.int64)
    rows = np.flatnonzero(scores >= options.min_score)
    if not len(rows):
        return {layer: Observed(rows, ()) for layer in layers}
    image, seen = _prepare(frame, rows, options)
    with torch.inference_mode():
        maps = model.network(model.prepare(image)[None], layers)
        described = {
            layer: seen(maps[layer][0], model.strides[layer], model.offsets[layer]) for layer in layers
        }
    found = {}
    for layer, (sets, boxes) in described.items():
        observations = [
            Observation(points=cells, box=box, score=float(scores[row]), label=int(classes[row]))
            for row, cells, box in zip(rows, sets, boxes, strict=True)
        ]
        keep = _distinct(observations, options)
        found[layer] = Observed(rows[keep], tuple(observations[index] for index in keep))
    return found


_Described = tuple[Sequence[Tensor], Float[np.ndarray, "object 4"]]
"""Points of each object, and its box in the unit of the cascade."""
_See = Callable[[Float[Tensor, "channel h w"], int, float], _Described]
"""Map of a layer, its stride and offset -> what it shows of the objects."""


def _prepare(frame: Frame, rows: np.ndarray, options: AssociationOptions) -> tuple[np.ndarray, _See]:
    """The image that the network is to see, and how the objects are read off its maps."""
    detections = frame.detections
    if options.observation == "box":
        return _prepare_boxes(frame.image, detections.boxes[rows], options)
    height, width = frame.image.shape[:2]
    if options.observation == "mask":
        masks = [torch.from_numpy(rle.decode(detections.masks[row])) for row in rows]
        return frame.image, _see_masks(masks, None, options)
    poses = detections.keypoints[rows]
    boxes = np.stack([points.pose_box(pose).double().numpy() for pose in poses])
    return frame.image, _see_masks([points.pose_mask(pose, height, width) for pose in poses], boxes, options)


def _prepare_boxes(
    image: np.ndarray, boxes: Float[np.ndarray, "object 4"], options: AssociationOptions
) -> tuple[np.ndarray, _See]:
    placed, known = boxes, boxes
    if options.letterbox is not None:
        where = letterbox.fit(image.shape[:2], options.letterbox, as_coded=options.letterbox_as_coded)
        image, placed = letterbox.paste(image, where), letterbox.place(boxes, where)
        known = boxes + np.tile(where.drift, 2)

    def see(features: Tensor, stride: int, offset: float) -> _Described:
        return points.box_points(features, placed, stride, offset, options.roi_size), known

    return image, see


def _see_masks(
    masks: Sequence[Tensor], boxes: Float[np.ndarray, "object 4"] | None, options: AssociationOptions
) -> _See:
    def see(features: Tensor, stride: int, offset: float) -> _Described:
        read = [
            points.mask_points(features, mask, options.max_points, bleed=options.bleed, offset=offset)
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
    boxes = torch.from_numpy(np.stack([observations[index].box for index in some]))
    first = -torch.arange(len(some), dtype=torch.float64)
    labels = torch.tensor([observations[index].label for index in some])
    return [some[kept] for kept in sorted(batched_nms(boxes, first, labels, options.duplicate_iou).tolist())]


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
