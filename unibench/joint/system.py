"""The nouns of jointly trained trackers: what they learn from, what they find, and what one system brings.

Images are RGB, 0 to 255, (3, height, width); every network normalises them itself. Boxes are xyxy in pixels of the
image that a tensor holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from unibench.errors import TrainingError
from unibench.joint.ranges import Name, Side
from unibench.models.cards import Preprocessing
from unibench.records import Clip, Labels, Rle

if TYPE_CHECKING:
    from unibench.tasks.family import Task as Task  # noqa: PLC0414 - joint's modules take it from here
else:
    Task = Any  # the room of tasks lies above this one

IMAGENET = Preprocessing("rgb", 1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Mean 0 and standard deviation 1 over ImageNet."""
UNKNOWN = -1
"""Identity of an object that has none."""
Objective = Literal["det", "vid", "mot", "sot"]
"""What a batch teaches: to find all objects of an image; of the frame in the middle of a clip; of all frames, and who
is who; to find the one object again that is known in the first frame."""


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], Tensor]:
    return lambda: torch.zeros(shape, dtype=dtype)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One annotated image of a training set."""

    name: str
    """Unique within its training set, and stable: embeddings are stored under it."""
    image: Callable[[], UInt8[np.ndarray, "height width 3"]]
    """Decodes it."""
    labels: Labels
    """Boxes in pixels of the image, classes, and ids where they are known (unique within the video)."""
    ignored: Float[np.ndarray, "region 4"] = field(default_factory=lambda: np.zeros((0, 4)))
    """Where nothing is learnt: crowds, reflections."""
    embeddings: Float[np.ndarray, "_object dim"] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """A teacher's embedding of each object, one row for each of `labels.boxes`; without a teacher (0, 0)."""
    areas: Float[np.ndarray, " _object"] = field(default_factory=lambda: np.zeros(0))
    """Of the objects' masks, square pixels: COCO calls an object small or large by them. Empty: the boxes' areas."""
    masks: Callable[[], Sequence[Rle]] = tuple
    """Encodes the mask of each object at the size of the image, one for each of `labels.boxes`, or none."""
    ignored_classes: Int[np.ndarray, " _region"] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Class that each region is ignored for; only the scores use it. Empty: every class."""
    video: str = ""
    """Empty: a still."""
    index: int = 0
    """Number of the frame in its video."""

    def outlines(self, why: str, off: str) -> Sequence[Rle]:
        """Encode the masks where they are needed.

        Args:
            why: The setting that needs them.
            off: Its value with which they are not.

        Raises:
            TrainingError: There are none, or not one of each object.
        """
        encoded, objects = self.masks(), len(self.labels.boxes)
        if len(encoded) != objects:
            raise TrainingError(
                f"image {self.name!r}: {len(encoded)} masks of {objects} objects, expected one each since {why}; give "
                f"data with masks, or set it to {off}"
            )
        return encoded


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Annotated images, some of them frames of videos."""

    name: str
    classes: tuple[str, ...]
    images: Sequence[AnnotatedImage]
    """Those of a video stand together, in the order of their index."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of one training image in pixels of its canvas; all fields are on the network's device."""

    boxes: Float[Tensor, "object 4"]
    classes: Int[Tensor, " object"]
    ids: Int[Tensor, " object"]
    """`UNKNOWN`, or a number that is unique within the clip."""
    embeddings: Float[Tensor, "object dim"]
    """A teacher's embedding of each object; dim 0 without a teacher."""
    ignored: Float[Tensor, "region 4"]
    masks: Bool[Tensor, "_object height width"] = field(default_factory=_empty(0, 0, 0, dtype=torch.bool))
    """True on the object, at the size of the canvas; length 0 if the config does not ask for masks."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What the losses see at a time: clips of one frame (stills) or a few."""

    images: UInt8[Tensor, "clip time 3 height width"]
    targets: tuple[tuple[Targets, ...], ...]
    """[clip][time]; if the objective is `sot`, one object at time 0, and later the same one or none."""
    objective: Objective = "mot"
    classes: tuple[str, ...] = ()
    """Names that `Targets.classes` counts, where a batch has names of its own; empty: the config's."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects that a network finds in one image, best first. A field that is not used has length 0.

    All fields are on one device; used fields have one row an object, in the same order.
    """

    boxes: Float[Tensor, "_object 4"] = field(default_factory=_empty(0, 4))
    """xyxy, pixels of the image."""
    scores: Float[Tensor, " _object"] = field(default_factory=_empty(0))
    """0 to 1."""
    classes: Int[Tensor, " _object"] = field(default_factory=_empty(0, dtype=torch.int64))
    """Index into the config's classes or, once the objects lie in a clip's frame, into the clip's vocabulary."""
    embeddings: Float[Tensor, "_object dim"] = field(default_factory=_empty(0, 0))
    masks: Bool[Tensor, "_object height width"] = field(default_factory=_empty(0, 0, 0, dtype=torch.bool))
    """True on the object, at the size of the image."""


@dataclass(frozen=True)
class EmbedderOptions:
    """A frozen model, and the crop of an object that it embeds."""

    card: Name
    """Name of a model card, or path of one (`.toml`)."""
    layer: str
    """The map whose mean over an object's crop is the embedding; empty: the card's default."""
    size: tuple[Side, Side]
    """Height and width to which every crop is resized, pixels."""
    rectify: bool = False
    """Whether negative elements of the mean become 0: with OSNet's layer `embedding`, torchreid's embedding."""
    weights: str = ""
    """The weights' file or its folder, for cards whose `weights.source` is `file:NAME`; empty: the card's folder,
    where `card` is a path, and the caches."""


@dataclass(frozen=True)
class System:
    """What one joint tracker brings: plain functions, no state."""

    name: str
    config: type
    """Frozen dataclass that a TOML file fills. It has the fields `classes` (names), `view`, `sample` and `train`
    (`ViewOptions`, `SampleOptions`, `TrainOptions`)."""
    folder: Path
    """Holds `paper.toml`, `tiny.toml`, ..."""
    build: Callable[[Any], nn.Module]
    """Config -> network with random parameters."""
    losses: Callable[[nn.Module, Batch, Any, str], dict[str, Tensor]]
    """Network, batch, config, name of the stage -> named terms, weighted; their sum is minimised."""
    detect: Callable[[nn.Module, Tensor, Any], list[Detections]]
    """Network, images (batch, 3, height, width), config -> the objects of each image."""
    track: Callable[[nn.Module, Any, Clip, Task], Iterator[Labels]]
    """Network, config, clip, task -> labels of frame 0, 1, 2, ...; the task says the family (`mot`) and the protocol
    (`private`, `public`), and an unknown protocol is an error."""
    backbone: Callable[[nn.Module], nn.Module]
    """The part that can enter as a frozen model: images, as `preprocessing` gives them -> name -> map."""
    unsupported: Mapping[str, str]
    """Family of tasks -> why this system cannot do them; all others it can."""
    preprocessing: Preprocessing = IMAGENET
    """From an image to what the backbone sees, for its card; inside the tracker, the network does it."""
    objectives: tuple[Objective, ...] = ("mot",)
    """What its losses can teach."""
    prepare: Callable[..., list[TrainingSet]] | None = None
    """Training sets, config, folder (keyword `device`) -> the training sets with what training needs beside the data.
    It is stored in the folder, so that it is made once."""
    companions: Callable[[Any], Sequence[EmbedderOptions]] = lambda config: ()
    """Config -> frozen models that take part when it tracks, beside its own network."""
    prompted: bool = False
    """Whether it reads the names of classes: training sets may then have different ones, and each batch comes from one
    of the sets."""
    detect_clip: Callable[[nn.Module, Tensor, Any], Detections] | None = None
    """Network, an odd number of frames (frame, 3, height, width), config -> the objects of the frame in the middle.
    None: it looks at one image only."""
    surplus: Callable[[Any], tuple[str, ...]] = lambda config: ()
    """Config -> prefixes of tensors that a weights file may hold and its network does without."""
