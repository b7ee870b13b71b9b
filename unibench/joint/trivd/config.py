"""The config of TrIVD: one network finds objects in images and clips by their names, and follows them by queries."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from heads.trackqueries import TrackQueryOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.layers.deformable_transformer import TransformerOptions
from unibench.joint.ranges import Channels, Classes, Count, Share, Weight
from unibench.joint.training.config import TrainOptions

NORMALISED = 8
"""Groups of the group norms between early convolutions."""
GROUPS = 32
"""Of the group norms after the input projections."""
MULTIPLE = 96
"""Of which `dim` is one: the group norms divide it by 32, the encoding of time, y and x by 6."""
FRAMES = 2
"""Previous and current frame."""

Blocks = Annotated[int, Meta(ge=1, le=64)]
Heads = Annotated[int, Meta(ge=1, le=64)]
Text = Annotated[str, Meta(max_length=1000)]
Dropout = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True)
class BackboneOptions:
    """MViTv2; its maps of strides 8, 16 and 32 are used, and a fourth of stride 64 is made of the last."""

    depths: tuple[Blocks, Blocks, Blocks, Blocks]
    """Blocks of each stage."""
    widths: tuple[Channels, Channels, Channels, Channels]
    """Channels of each stage."""
    heads: tuple[Heads, Heads, Heads, Heads]
    """Of each stage's attention."""
    image: Annotated[int, Meta(ge=32, le=8192, multiple_of=32)]
    """Side of the square images whose relative positions are tabulated; for others the tables are stretched."""
    drop_path: Dropout
    """Of the last block."""
    early_convolutions: bool
    """Whether four convolutions of 3 x 3 make the patches, as in Xiao et al., "Early Convolutions Help Transformers See
    Better" (NeurIPS 2021), in place of one of 7 x 7: then few images teach it."""

    def __post_init__(self) -> None:
        if self.early_convolutions and self.widths[0] % (2 * NORMALISED):
            raise ValueError(
                f"widths: found {self.widths[0]} channels of the first stage, expected a multiple of {2 * NORMALISED} "
                "for early convolutions"
            )
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ValueError(f"heads: found {heads}, expected a divisor of {width} channels")


@dataclass(frozen=True)
class TextOptions:
    """What encodes the class names."""

    folder: Text
    """An encoder in the layout of the transformers library; empty: our own, which is tiny and needs no weights."""
    dropout: Dropout
    """After the projection of its tokens."""


@dataclass(frozen=True)
class NetworkOptions:
    """Attention over levels and frames, and the transformer."""

    dim: Annotated[int, Meta(ge=MULTIPLE, le=1920, multiple_of=MULTIPLE)]
    """Of cells, queries and words."""
    blocks: Annotated[int, Meta(ge=0, le=20)]
    """DyHead's, one after the other; 0: levels and places are not attended to before the transformer."""
    queries: Annotated[int, Meta(ge=1, le=10_000)]
    """That look for objects."""
    heads: Heads
    points: Heads
    """That each head looks at in each level."""
    feedforward: Channels
    encoder_layers: Blocks
    decoder_layers: Blocks
    dropout: Dropout
    contrast: Channels
    """Elements of the embeddings in which queries and words are compared."""

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"heads: found {self.heads}, expected a divisor of {self.dim} channels")

    @property
    def transformer(self) -> TransformerOptions:
        """The transformer's own record."""
        return TransformerOptions(
            dim=self.dim, levels=4, frames=FRAMES, heads=self.heads, points=self.points,
            feedforward=self.feedforward, encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers,
            dropout=self.dropout,
        )  # fmt: skip


@dataclass(frozen=True)
class LossOptions:
    """Weights of what is minimised, and what is done to track queries in training."""

    soft_token: Weight
    contrastive: Weight
    distance: Weight
    """Of the boxes' L1 distance."""
    overlap: Weight
    """Of the boxes' 1 - generalised IoU."""
    false_positives: Share
    """Most false track queries, as a share of the true ones, rounded up."""
    no_object: Weight
    """Of a query that stands for no object, in the soft-token loss."""
    regions: Weight
    """Of the names of the true boxes' insides, told from the maps alone, before any query; 0: not taught. It is all
    that a stage called `regions` teaches."""
    fewer_names: Share
    """Of batches whose prompt is a random part of the names, at least one; objects of the others are background. It
    teaches that what is not asked for is no object."""


@dataclass(frozen=True)
class DetectionOptions:
    """Which queries become objects of an image."""

    min_score: Share
    """Near zero for average precision."""
    total: Count
    """At most so many objects an image."""


@dataclass(frozen=True)
class TrivdConfig:
    """Fills from `paper.toml`, `tiny.toml`, or any other file."""

    classes: Classes
    """The prompt for images; a training set has a prompt of its own, its classes, and a clip its vocabulary."""
    backbone: BackboneOptions
    text: TextOptions
    network: NetworkOptions
    losses: LossOptions
    detections: DetectionOptions
    tracking: TrackQueryOptions
    view: ViewOptions
    sample: SampleOptions
    train: TrainOptions

    def __post_init__(self) -> None:
        time = self.sample.time
        objectives = {objective for stage in self.train.stages for objective in stage.alternate}
        if "vid" in objectives and time % 2 == 0:
            raise ValueError(
                f"sample.time: found {time}, expected an odd number, since batches teach 'vid', the frame in the middle"
            )
        if "mot" in objectives and time < FRAMES:
            raise ValueError(
                f"sample.time: found {time}, expected at least {FRAMES}, since batches teach 'mot', pairs of frames"
            )
