"""TDT's network: RetinaNet with an embedder head of two convolutions, which gives every anchor an embedding.

Reference: Yu et al., "TDT: Teaching Detectors to Track without Fully Annotated Videos", CVPRW 2022, section 3.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.layers import anchors
from unibench.joint.layers.resnet_fpn import Backbone, ConvNormAct, normalise
from unibench.joint.tdt.config import NetworkOptions, TdtConfig


class Tower(nn.Module):
    """Convolutions that all levels share, and a last one with some values for each anchor of a cell."""

    def __init__(self, options: NetworkOptions, values: int, levels: int) -> None:
        super().__init__()
        channels = [options.channels, *[options.tower_channels] * options.tower_convs]
        self.blocks = nn.ModuleList(
            ConvNormAct(first, second, 3, levels=levels) for first, second in pairwise(channels)
        )
        self.last = nn.Conv2d(channels[-1], values, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, features: Float[Tensor, "batch channel h w"], level: int) -> Tensor:
        """(batch, values, h, w) of one level (0: the first)."""
        for block in self.blocks:
            features = block(features, level)
        result: Tensor = self.last(features)
        return result


class Embedder(nn.Module):
    """Two 3x3 convolutions with a batch norm and a ReLU in between; the second one is only run where it is asked for.

    An embedding for each of some 100,000 anchors, of which 100 are read, would take most of the network's time.
    """

    def __init__(self, options: NetworkOptions, shapes: int, levels: int) -> None:
        super().__init__()
        self.first = ConvNormAct(options.channels, options.embedder_channels, 3, levels=levels)
        self.last = nn.Conv2d(options.embedder_channels, shapes * options.dim, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.shapes = shapes

    def forward(self, features: Float[Tensor, "batch channel h w"], level: int) -> Tensor:
        """What the second convolution reads, of one level (0: the first)."""
        hidden: Tensor = self.first(features, level)
        return hidden

    def at(
        self,
        hidden: Sequence[Float[Tensor, "batch hidden _h _w"]],
        images: Int[Tensor, " row"],
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "row dim"]:
        """Give the embeddings of some anchors: what the second convolution would give in their places.

        Args:
            hidden: What `forward` gave, of every level.
            images: Index of the image of each anchor in the batch.
            rows: Index of the anchor in its image, as `anchors.grid` counts.
        """
        counts = [one.shape[2] * one.shape[3] * self.shapes for one in hidden]
        ends = torch.tensor(counts, device=rows.device).cumsum(0)
        level = torch.searchsorted(ends, rows, right=True)
        local = rows - F.pad(ends, (1, 0))[level]
        order = level.argsort(stable=True)
        patches = torch.cat([
            _patches(maps, images[level == index], local[level == index] // self.shapes)
            for index, maps in enumerate(hidden)
        ])  # fmt: skip
        return self._second(patches[order.argsort()], local % self.shapes)

    def _second(self, patches: Float[Tensor, "row value"], shape: Int[Tensor, " row"]) -> Tensor:
        """The second convolution on one patch a row; each anchor shape has output channels of its own."""
        weights = self.last.weight.reshape(self.shapes, -1, patches.shape[1])
        biases = self.last.bias.view(self.shapes, -1)  # type: ignore[union-attr]
        parts = [
            F.linear(patches[shape == index], weights[index], biases[index]) for index in range(self.shapes)
        ]
        return torch.cat(parts)[shape.argsort(stable=True).argsort()]


def _patches(
    maps: Float[Tensor, "batch channel h w"], images: Int[Tensor, " row"], cells: Int[Tensor, " row"]
) -> Float[Tensor, "row value"]:
    """The 3x3 neighbourhoods of some cells, zeros beyond the border, as a convolution's kernel sees them."""
    width = maps.shape[3]
    around = torch.arange(3, device=maps.device)
    rows = (cells // width)[:, None, None] + around[:, None]
    columns = (cells % width)[:, None, None] + around
    taken = F.pad(maps, (1, 1, 1, 1)).movedim(1, -1)[images[:, None, None], rows, columns]
    return taken.movedim(-1, 1).flatten(1)


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the network says of every anchor: levels one after the other, in each (row, column, shape)."""

    logits: Float[Tensor, "batch anchor class"]
    offsets: Float[Tensor, "batch anchor 4"]
    """For the box coder."""
    anchors: Float[Tensor, "anchor 4"]
    hidden: tuple[Float[Tensor, "batch hidden _h _w"], ...]
    """Of each level."""
    embedder: Embedder

    def embeddings(self, images: Int[Tensor, " row"], rows: Int[Tensor, " row"]) -> Float[Tensor, "row dim"]:
        """Embeddings, not normalised, of some anchors, by image and row."""
        return self.embedder.at(self.hidden, images, rows)


class Tdt(nn.Module):
    """Images in, scores and boxes of all anchors out, and embeddings of those that are asked for."""

    def __init__(self, config: TdtConfig) -> None:
        super().__init__()
        options = config.network
        self.backbone = Backbone(options.backbone, channels=options.channels, levels=options.levels)
        shapes, levels = config.anchors.count, len(self.backbone.levels)
        self.classification = Tower(options, shapes * len(config.classes), levels)
        self.localisation = Tower(options, shapes * 4, levels)
        self.embedder = Embedder(options, shapes, levels)
        nn.init.constant_(self.classification.last.bias, -math.log(1 / options.prior - 1))  # type: ignore[arg-type]
        self.options = config.anchors

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Outputs:
        """Look at images, RGB 0 to 255."""
        maps = self.backbone.pyramid(normalise(images))
        shapes = [(one.shape[2], one.shape[3]) for one in maps]
        grid = anchors.grid(shapes, self.backbone.strides, self.options, images.device)
        return Outputs(
            logits=self._rows(self.classification, maps),
            offsets=self._rows(self.localisation, maps),
            anchors=torch.cat(grid),
            hidden=tuple(self.embedder(one, level) for level, one in enumerate(maps)),
            embedder=self.embedder,
        )

    def _rows(self, tower: Tower, maps: Sequence[Tensor]) -> Float[Tensor, "batch anchor value"]:
        """Maps of all levels, (batch, shape x value, h, w) each, as rows of one table."""
        each = [
            tower(one, level).unflatten(1, (self.options.count, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)
            for level, one in enumerate(maps)
        ]
        return torch.cat(each, dim=1)
