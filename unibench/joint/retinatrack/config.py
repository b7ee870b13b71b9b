"""The config of RetinaTrack: every choice of the paper, its ablations included, is a value here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from heads.track_store import StoreOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.detector import DetectionOptions
from unibench.joint.layers.anchors import AnchorOptions
from unibench.joint.ranges import (
    Channels,
    Classes,
    Convs,
    Count,
    Levels,
    Name,
    Positive,
    Prior,
    Share,
    Weight,
)
from unibench.joint.system import EmbedderOptions
from unibench.joint.training.config import TrainOptions


@dataclass(frozen=True)
class NetworkOptions:
    """What lies between the image and the outputs."""

    backbone: Name
    """A ResNet of torchvision, or `tiny`."""
    channels: Channels
    """Of the feature pyramid and of every convolution behind it."""
    levels: Levels
    """First and last level of the pyramid; level l has stride 2 ** l."""
    per_anchor: bool
    """Each anchor shape has task-shared convolutions of its own, hence instance features. False: plain RetinaNet,
    where anchors of one cell share features and embedding."""
    shared_convs: Convs
    """m1: 3x3 convolutions that classification, localisation and embedding share."""
    task_convs: Convs
    """m2: 3x3 convolutions of classification and of localisation, before the last one."""
    embedding_convs: Convs
    """m3: 1x1 convolutions of the embedding. 0: the embedding is the instance feature itself."""
    embedding_channels: Channels
    """Of the embedding, if m3 is not 0."""
    prior: Prior
    """Probability of a class that an untrained network gives every anchor."""


@dataclass(frozen=True)
class LossOptions:
    """What is minimised: the unweighted sum of focal, Huber and triplet loss."""

    alpha: Share
    gamma: Weight
    """Of the focal loss."""
    delta: Positive
    """Of the Huber loss, in units of the box coder."""
    triplet: Weight
    """Weight of the triplet loss. 0: the paper's `w/o triplet loss`."""
    margin: Weight
    identified: Share
    """IoU with an object from which on an anchor carries its identity."""
    triplets: Count
    """Anchors drawn from a batch, each with its hardest positive and negative."""


@dataclass(frozen=True)
class TrackingOptions:
    """How objects become tracks."""

    min_score: Share
    """Objects below it are not tracked; detections that a frame brings are all tracked."""
    store: StoreOptions
    reid: EmbedderOptions | None = None
    """A frozen model whose embedding of each object's crop replaces the network's (the paper's offline re-id)."""


@dataclass(frozen=True)
class RetinaTrackConfig:
    """Fills from `paper.toml`, `tiny.toml`, or any other file."""

    classes: Classes
    network: NetworkOptions
    anchors: AnchorOptions
    losses: LossOptions
    detections: DetectionOptions
    tracking: TrackingOptions
    view: ViewOptions
    sample: SampleOptions
    train: TrainOptions


_PLAIN = {"per_anchor": False, "embedding_convs": 0}
_STARRED = {"per_anchor": False}
_SHARED = {"shared_convs": 4, "task_convs": 0}
_UNSHARED = {"shared_convs": 0, "task_convs": 4}
_ONE = {"ratios": (1.0,), "scales": (1.0,)}
_DETECTOR = {"triplet": 0.0}

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "retinatrack": {},
    "retinatrack-1-3": {"network": {"shared_convs": 1, "task_convs": 3}},
    "retinatrack-2-2": {"network": {"shared_convs": 2, "task_convs": 2}},
    "retinatrack-m3-0": {"network": {"embedding_convs": 0}},
    "retinatrack-m3-4": {"network": {"embedding_convs": 4}},
    "retinatrack-without-triplet": {"network": {"embedding_convs": 0}, "losses": _DETECTOR},
    "retinanet-unshared": {"network": _PLAIN | _UNSHARED, "losses": _DETECTOR},
    "retinanet-shared": {"network": _PLAIN | _SHARED, "losses": _DETECTOR},
    "retinanet*-unshared": {"network": _STARRED | _UNSHARED},
    "retinanet*-shared": {"network": _STARRED | _SHARED},
    "retinanet-k1-unshared": {"network": _STARRED | _UNSHARED, "anchors": _ONE},
    "retinanet-k1-shared": {"network": _STARRED | _SHARED, "anchors": _ONE},
}
"""Rows of the paper's tables 4, 5, 6 and 8, as what they change in a config: table -> field -> value."""


def changed(config: RetinaTrackConfig, changes: Mapping[str, Mapping[str, Any]]) -> RetinaTrackConfig:
    """Change fields of a config's tables, as `VARIANTS` lists them.

    Args:
        config: Where everything else comes from.
        changes: Table -> field -> value.
    """
    parts = {table: replace(getattr(config, table), **fields) for table, fields in changes.items()}
    return replace(config, **parts)
