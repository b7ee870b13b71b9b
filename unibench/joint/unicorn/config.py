"""The config of Unicorn: one network for a prompted object and for all objects of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from heads import bytetrack, qdtrack
from heads.bytetrack import ByteTrackOptions
from heads.qdtrack import QDTrackOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.ranges import Channels, Classes, Convs, Prior, Share, Weight
from unibench.joint.training.config import TrainOptions

ASSOCIATIONS: Mapping[str, ByteTrackOptions | QDTrackOptions] = {
    "bytetrack": bytetrack.MOT17,
    "bytetrack-mot17-buffers": replace(bytetrack.MOT17, buffers=bytetrack.MOT17_BUFFERS),
    "qdtrack": qdtrack.MOTS20,
    "qdtrack-bdd-mot": qdtrack.BDD_MOT,
    "qdtrack-bdd-mots": qdtrack.BDD_MOTS,
    "qdtrack-shapes": replace(qdtrack.MOTS20, birth_score=0.7, track_score=0.4, momentum=0.5),
}
"""How objects become tracks, by name. The paper's results on MOT17 and BDD100K took those named after them; the last
one was chosen on rendered clips of no benchmark."""
Name = Literal[
    "bytetrack", "bytetrack-mot17-buffers", "qdtrack", "qdtrack-bdd-mot", "qdtrack-bdd-mots", "qdtrack-shapes"
]  # fmt: skip
Four = tuple[Channels, Channels, Channels, Channels]


@dataclass(frozen=True)
class NetworkOptions:
    """Backbone, pyramid, interaction, head."""

    backbone: Literal["convnext", "resnet50"]
    depths: tuple[Convs, Convs, Convs, Convs]
    """Blocks of ConvNeXt's stages; without effect on the residual network, as the next two."""
    widths: Four
    """Channels of ConvNeXt's stages, each the double of the one before."""
    drop_path: Annotated[float, Meta(ge=0, lt=1)]
    """Of ConvNeXt's last block."""
    pyramid_depth: Convs
    """Bottlenecks in each merge of the pyramid."""
    groups: Channels
    """Of the group norms of pyramid, head and mask branch."""
    interaction_channels: Channels
    """Of the tokens that two frames exchange."""
    interaction_groups: Channels
    """Of the group norm before."""
    heads: Annotated[int, Meta(ge=1, le=64)]
    points: Annotated[int, Meta(ge=1, le=64)]
    """Of the deformable attention."""
    feedforward: Channels
    dropout: Annotated[float, Meta(ge=0, lt=1)]
    positions: Annotated[int, Meta(ge=1, le=1000)]
    """Rows and columns of the table of positions, which is stretched over any frame."""
    embedding: Channels
    """Elements of the embedding of a cell."""
    head_channels: Channels
    head_blocks: Annotated[int, Meta(ge=0, le=20)]
    """ConvNeXt blocks of each level, after the prior was added."""
    tower_convs: Convs
    mask_channels: Annotated[int, Meta(ge=0, le=65536)]
    """Of the mask branch; 0: the network draws no masks."""
    prior: bool = True
    """Whether the head is told where the prompted object probably is; false: the ablation without target prior."""
    interaction: bool = True
    """Whether two frames exchange information before they are compared; false: the ablation without interaction."""
    probability: Prior = 0.01
    """Of an object, and of a class, that an untrained network gives every cell."""

    def __post_init__(self) -> None:
        divided = {
            "groups": (self.head_channels, self.mask_channels),
            "interaction_groups": (self.interaction_channels,),
            "heads": (self.interaction_channels,),
        }
        for name, numbers in divided.items():
            for number in numbers:
                if number % getattr(self, name):
                    raise ValueError(
                        f"{name}: found {getattr(self, name)}, expected a divisor of {number} channels"
                    )
        if self.interaction_channels % 4:
            raise ValueError(
                f"interaction_channels: found {self.interaction_channels}, expected a multiple of 4"
            )


@dataclass(frozen=True)
class LossOptions:
    """What is minimised: correspondence, detection and, in the stage `masks`, masks."""

    overlap: Weight
    """Weight of the boxes' 1 - IoU^2; objectness, class and raw offsets have 1."""
    mot: Weight
    """Weight of everything on pairs whose objects are all to be found; pairs with a prompt have 1."""
    auxiliary: Weight
    """Weight of the losses on pairs of the former kind whose first object that is found again counts as prompted."""


@dataclass(frozen=True)
class DetectionOptions:
    """Which cells become objects."""

    min_score: Share
    """Least probability of an object times that of its class, where all objects are to be found."""
    nms_iou: Share
    """Of two objects of a class that overlap more, the lower score is left out."""
    prompted_score: Share
    """The same for a prompted object; below it, the object is not seen."""


@dataclass(frozen=True)
class TrackingOptions:
    """How objects become tracks, and probabilities masks."""

    mot: Name
    """A name in `ASSOCIATIONS`."""
    mots: Name
    min_score: Share
    """Objects below it do not enter QDTrack."""
    min_area: Weight
    """Only boxes with more square pixels are written."""
    mask: Share
    """Probability above which a pixel belongs to a mask of MOTS."""


@dataclass(frozen=True)
class UnicornConfig:
    """Fills from `tiny_mask.toml`, `toy.toml`, or any other file."""

    classes: Classes
    network: NetworkOptions
    losses: LossOptions
    detections: DetectionOptions
    tracking: TrackingOptions
    view: ViewOptions
    sample: SampleOptions
    train: TrainOptions

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self.view, name) % 32:
                raise ValueError(f"view.{name}: found {getattr(self.view, name)}, expected a multiple of 32")
