"""The config of TDT: every choice of the paper is a value here, and its two-stage counterpart another one."""

from dataclasses import dataclass

from heads.cascade import CascadeOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.detector import DetectionOptions
from unibench.joint.layers.anchors import AnchorOptions
from unibench.joint.system import EmbedderOptions
from unibench.joint.training.config import TrainOptions

EMBEDDERS = ("student", "teacher", "none")


@dataclass(frozen=True)
class NetworkOptions:
    """RetinaNet, and the embedder head beside its two towers."""

    backbone: str
    """A ResNet of torchvision, or `tiny`."""
    channels: int
    """Of the feature pyramid."""
    levels: tuple[int, int]
    """First and last level of the pyramid; level l has stride 2 ** l."""
    tower_convs: int
    """3x3 convolutions of classification and of localisation, before the last one."""
    tower_channels: int
    embedder_channels: int
    """Between the two convolutions of the embedder head."""
    dim: int
    """D_s: how many elements the embedding of an anchor has, at most as many as the teacher's."""
    prior: float
    """Probability of a class that an untrained network gives every anchor."""


@dataclass(frozen=True)
class LossOptions:
    """What is minimised: the weighted sum of focal, Huber and embedding loss."""

    alpha: float
    gamma: float
    """Of the focal loss."""
    delta: float
    """Of the Huber loss, in units of the box coder."""
    classification: float
    """Weight, as the next two."""
    localisation: float
    embedding: float
    """0: a detector alone, as the two-stage counterpart has it; it needs no teacher."""


@dataclass(frozen=True)
class TrackingOptions:
    """How objects become tracks."""

    min_score: float
    """Objects below it are not tracked; detections that a frame brings are all tracked."""
    smoothing: float
    """Share of the old embedding in that of a track which is found again."""
    write: str
    """What is written of a track: `kalman`, the filter's box, or `detection`, the box matched."""
    min_area: float
    """Only boxes with more square pixels are written."""
    max_aspect: float
    """Only boxes with at most this w/h are written."""
    cascade: CascadeOptions
    embedder: str = "student"
    """Where embeddings come from: `student`, the network (one stage); `teacher`, the teacher on a crop of each object
    (the two-stage counterpart); `none`: motion and overlap alone tell objects apart."""


@dataclass(frozen=True)
class TdtConfig:
    """Fills from `paper.toml`, `tiny.toml`, or any other file."""

    classes: tuple[str, ...]
    network: NetworkOptions
    anchors: AnchorOptions
    losses: LossOptions
    teacher: EmbedderOptions
    """The frozen model whose embeddings the network learns."""
    detections: DetectionOptions
    tracking: TrackingOptions
    view: ViewOptions
    sample: SampleOptions
    train: TrainOptions
