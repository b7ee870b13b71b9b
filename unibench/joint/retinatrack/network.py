"""RetinaTrack's network: RetinaNet whose convolutions behind the pyramid split by anchor shape early.

Reference: Lu et al., "RetinaTrack", CVPR 2020, sections 3.1 to 3.3.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unibench.joint.layers import anchors
from unibench.joint.layers.resnet_fpn import Backbone, ConvNormAct, normalise
from unibench.joint.retinatrack.config import NetworkOptions, RetinaTrackConfig


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the network says of every anchor: levels one after the other, in each (row, column, shape)."""

    logits: Float[Tensor, "batch anchor class"]
    offsets: Float[Tensor, "batch anchor 4"]
    """For the box coder."""
    embeddings: Float[Tensor, "batch anchor dim"]
    anchors: Float[Tensor, "anchor 4"]


class Tower(nn.Module):
    """Convolutions that are shared over the levels, each followed by normalisations that are not."""

    def __init__(self, channels: Sequence[int], kernel: int, *, levels: int, groups: int = 1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvNormAct(first, second, kernel, levels=levels, groups=groups if index else 1)
            for index, (first, second) in enumerate(pairwise(channels))
        )

    def forward(
        self, features: Float[Tensor, "batch inputs h w"], level: int
    ) -> Float[Tensor, "batch outputs h w"]:
        """Args: features: of one level of the pyramid; level: its index, 0 the finest."""
        for block in self.blocks:
            features = block(features, level)
        return features


class Embedding(nn.Module):
    """m3 convolutions of 1x1, the last one without normalisation and activation."""

    def __init__(self, options: NetworkOptions, levels: int) -> None:
        super().__init__()
        width, depth = options.embedding_channels, options.embedding_convs
        channels = [options.channels, *[width] * depth]
        self.tower = Tower(channels[:-1] or channels, 1, levels=levels)
        self.last = nn.Conv2d(channels[-2], width, 1) if depth else nn.Identity()

    def forward(
        self, features: Float[Tensor, "batch channel h w"], level: int
    ) -> Float[Tensor, "batch dim h w"]:
        """Args: features: instance features of one level; level: its index."""
        embeddings: Tensor = self.last(self.tower(features, level))
        return embeddings


class Head(nn.Module):
    """What lies behind the pyramid; the same convolutions read every level.

    The m1 task-shared convolutions exist once per anchor shape (`per_anchor`, RetinaTrack) or once (RetinaNet); all
    that follows is shared by the shapes.
    """

    def __init__(self, options: NetworkOptions, classes: int, shapes: int) -> None:
        super().__init__()
        levels = options.levels[1] - options.levels[0] + 1
        self.shapes, self.splits = shapes, shapes if options.per_anchor else 1
        wide = self.splits * options.channels
        self.shared = Tower(
            [options.channels, *[wide] * options.shared_convs], 3, levels=levels, groups=self.splits
        )
        channels = [options.channels] * (options.task_convs + 1)
        self.classification = Tower(channels, 3, levels=levels)
        self.localisation = Tower(channels, 3, levels=levels)
        together = shapes // self.splits
        self.logits = nn.Conv2d(options.channels, together * classes, 3, padding=1)
        self.offsets = nn.Conv2d(options.channels, together * 4, 3, padding=1)
        self.embedding = Embedding(options, levels)
        for last in (self.logits, self.offsets):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.logits.bias, -math.log(1 / options.prior - 1))  # type: ignore[arg-type]

    def forward(self, features: Float[Tensor, "batch channel h w"], level: int) -> tuple[Tensor, ...]:
        """Logits, offsets and embeddings of one level, each (batch, anchor, value)."""
        batch = len(features)
        instances = self.shared(features, level)
        instances = instances.reshape(batch * self.splits, -1, *features.shape[2:])
        logits = self.logits(self.classification(instances, level))
        offsets = self.offsets(self.localisation(instances, level))
        embeddings = self.embedding(instances, level)
        return (
            self._rows(logits, batch, self.shapes),
            self._rows(offsets, batch, self.shapes),
            self._rows(embeddings, batch, self.splits).repeat_interleave(self.shapes // self.splits, dim=1),
        )

    @staticmethod
    def _rows(maps: Tensor, batch: int, shapes: int) -> Tensor:
        """(batch x split, value, h, w) or (batch, shape x value, h, w) -> (batch, h x w x shape, value)."""
        height, width = maps.shape[2:]
        maps = maps.reshape(batch, shapes, -1, height, width)
        return maps.permute(0, 3, 4, 1, 2).reshape(batch, height * width * shapes, -1)


class RetinaTrack(nn.Module):
    """Images in, scores, boxes and embeddings of all anchors out.

    `inherits` says which convolutions of torchvision's RetinaNet can stand in for those of the head: each task has four
    there, of which the first m1 are replicated for every anchor shape.
    """

    def __init__(self, config: RetinaTrackConfig) -> None:
        super().__init__()
        options = config.network
        self.backbone = Backbone(options.backbone, channels=options.channels, levels=options.levels)
        self.head = Head(options, len(config.classes), config.anchors.count)
        self.options = config.anchors
        self.inherits = dict(_inherited(options.shared_convs, options.task_convs))

    def forward(self, images: Tensor) -> Outputs:
        """Find objects: images (batch, 3, height, width), RGB 0-255."""
        maps = self.backbone.pyramid(normalise(images))
        shapes = [(one.shape[2], one.shape[3]) for one in maps]
        grid = anchors.grid(shapes, self.backbone.strides, self.options, images.device)
        parts = [self.head(one, level) for level, one in enumerate(maps)]
        logits, offsets, embeddings = (torch.cat(part, dim=1).float() for part in zip(*parts, strict=True))
        return Outputs(logits, offsets, embeddings, torch.cat(grid))


def _inherited(shared: int, task: int) -> Iterator[tuple[str, str]]:
    """Beginnings of names here and in torchvision's RetinaNet."""
    for index in range(min(shared, 4)):
        yield f"head.shared.blocks.{index}.conv.", f"head.classification_head.conv.{index}.0."
    for own, there in (("classification", "classification_head"), ("localisation", "regression_head")):
        for index in range(min(task, 4 - shared)):
            yield f"head.{own}.blocks.{index}.conv.", f"head.{there}.conv.{shared + index}.0."
