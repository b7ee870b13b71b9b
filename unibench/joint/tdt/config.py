"""The config of TDT: every choice of the paper is a value here, and its two-stage counterpart another one."""

from dataclasses import dataclass
from typing import Literal

from heads.cascade import CascadeOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.detector import DetectionOptions
from unibench.joint.layers.anchors import AnchorOptions
from unibench.joint.ranges import Channels, Classes, Convs, Levels, Name, Positive, Prior, Share, Weight
from unibench.joint.system import EmbedderOptions
from unibench.joint.training.config import TrainOptions

EmbedderName = Literal["student", "teacher", "none"]


@dataclass(frozen=True)
class NetworkOptions:
    """RetinaNet, and the embedder head beside its two towers."""

    backbone: Name
    """A ResNet of torchvision, or `tiny`."""
    channels: Channels
    """Of the feature pyramid."""
    levels: Levels
    """First and last level of the pyramid; level l has stride 2 ** l."""
    tower_convs: Convs
    """3x3 convolutions of classification and of localisation, before the last one."""
    tower_channels: Channels
    embedder_channels: Channels
    """Between the two convolutions of the embedder head."""
    dim: Channels
    """D_s: how many elements the embedding of an anchor has, at most as many as the teacher's."""
    prior: Prior
    """Probability of a class that an untrained network gives every anchor."""


@dataclass(frozen=True)
class LossOptions:
    """What is minimised: the weighted sum of focal, Huber and embedding loss."""

    alpha: Share
    gamma: Weight
    """Of the focal loss."""
    delta: Positive
    """Of the Huber loss, in units of the box coder."""
    classification: Weight
    """Weight, as the next two."""
    localisation: Weight
    embedding: Weight
    """0: a detector alone, as the two-stage counterpart has it; it needs no teacher."""


@dataclass(frozen=True)
class TrackingOptions:
    """How objects become tracks."""

    min_score: Share
    """Objects below it are not tracked; detections that a frame brings are all tracked."""
    smoothing: Share
    """Share of the old embedding in that of a track which is found again."""
    write: Literal["kalman", "detection"]
    """What is written of a track: `kalman`, the filter's box, or `detection`, the box matched."""
    min_area: Weight
    """Only boxes with more square pixels are written."""
    max_aspect: Positive
    """Only boxes with at most this w/h are written."""
    cascade: CascadeOptions
    embedder: EmbedderName = "student"
    """Where embeddings come from: `student`, the network (one stage); `teacher`, the teacher on a crop of each object
    (the two-stage counterpart); `none`: motion and overlap alone tell objects apart."""


@dataclass(frozen=True)
class TdtConfig:
    """Fills from `paper.toml`, `tiny.toml`, or any other file."""

    classes: Classes
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
