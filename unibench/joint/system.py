"""The nouns of jointly trained trackers: what they learn from, what they find, and what one system brings.

Images are RGB, 0 to 255, (3, height, width); every network normalises them itself. Boxes are xyxy in pixels of the
image that a tensor holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from unibench.records import Clip, Labels

UNKNOWN = -1
"""Identity of an object that has none."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One annotated image of a training set."""

    name: str
    """Unique within its set, and stable: embeddings are stored under it."""
    image: Callable[[], UInt8[np.ndarray, "height width 3"]]
    """Decodes it."""
    labels: Labels
    """Boxes in pixels of the image, classes, and ids where they are known (unique within the video)."""
    ignored: Float[np.ndarray, "region 4"] = field(default_factory=lambda: np.zeros((0, 4)))
    """Where nothing is learnt: crowds, reflections."""
    embeddings: Float[np.ndarray, "_object dim"] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """What a teacher says of each object, one row for each of `labels.boxes`; without a teacher (0, 0)."""
    areas: Float[np.ndarray, " _object"] = field(default_factory=lambda: np.zeros(0))
    """Of the objects' masks, square pixels: by them COCO calls an object small or large. Empty: use the boxes'."""
    ignored_classes: Int[np.ndarray, " _region"] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Class of what is ignored in each region, which matters to the score only. Empty: every class."""
    video: str = ""
    """Empty: a still."""
    index: int = 0
    """Number of the frame in its video."""


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """Annotated images, some of them frames of videos."""

    name: str
    classes: tuple[str, ...]
    pictures: Sequence[Picture]
    """Those of a video stand together, in the order of their index."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of one training image, on the canvas that the network sees; all fields are on its device."""

    boxes: Float[Tensor, "object 4"]
    classes: Int[Tensor, " object"]
    ids: Int[Tensor, " object"]
    """`UNKNOWN`, or a number that is unique within the clip."""
    embeddings: Float[Tensor, "object dim"]
    """What a teacher says of each object; dim 0 without a teacher."""
    ignored: Float[Tensor, "region 4"]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one training step sees: clips of one frame (stills) or a few."""

    images: UInt8[Tensor, "clip time 3 height width"]
    targets: tuple[tuple[Targets, ...], ...]
    """[clip][time]"""


@dataclass(frozen=True, eq=False)
class Found:
    """What a network finds in one image, best first."""

    boxes: Float[Tensor, "object 4"]
    scores: Float[Tensor, " object"]
    """0 to 1."""
    classes: Int[Tensor, " object"]
    embeddings: Float[Tensor, "object dim"]


@dataclass(frozen=True)
class TeacherOptions:
    """A frozen model, and what it is shown of an object."""

    card: str
    """Name of a model card, or path of one (`.toml`)."""
    layer: str
    """The map whose mean over an object's crop is the embedding; empty: the card's default."""
    size: tuple[int, int]
    """Height and width to which every crop is resized, pixels."""
    rectify: bool = False
    """Whether negative elements of the mean become 0: with OSNet's layer `embedding`, torchreid's embedding."""
    weights: str = ""
    """The weights' file or its folder, for cards whose `weights.source` is `file:NAME`; empty: the card's folder,
    where `card` is a path, and the caches."""


@dataclass(frozen=True)
class System:
    """What one joint tracker brings; plain functions, so that nothing is hidden in an object."""

    name: str
    config: type
    """Frozen dataclass that a TOML file fills. It has fields `classes` (names), and `view`, `sample`
    and `train` of `common.config`."""
    folder: Path
    """Holds `paper.toml`, `tiny.toml`, ..."""
    build: Callable[[Any], nn.Module]
    """Config -> network with random parameters."""
    losses: Callable[[nn.Module, Batch, Any], dict[str, Tensor]]
    """Network, batch, config -> named terms, weighted; their sum is minimised."""
    detect: Callable[[nn.Module, Tensor, Any], list[Found]]
    """Network, images (batch, 3, height, width), config -> what is in each."""
    track: Callable[[nn.Module, Any, Clip, str], Iterator[Labels]]
    """Network, config, clip, name of the protocol (`private`, `public`) -> labels of frame 0, 1, 2, ..."""
    backbone: Callable[[nn.Module], nn.Module]
    """The part that can enter as a frozen model: images, as `pyramid.normalise` gives them -> name -> map."""
    unsupported: Mapping[str, str]
    """Family of tasks -> why this system cannot do them; all others it can."""
    prepare: Callable[..., list[DetectionSet]] | None = None
    """Sets, config, folder (keyword `device`) -> the sets with what training needs beside the data: what is stored in
    the folder is read, what is not is made and stored, so that it is made once."""
    companions: Callable[[Any], Sequence[TeacherOptions]] = lambda config: ()
    """Config -> frozen models that take part when it tracks, beside its own network."""
