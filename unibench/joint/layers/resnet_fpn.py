"""A residual network with a feature pyramid, and convolutions whose batch norms differ from level to level.

Parts are named as in torchvision's RetinaNet (`body.*`, `fpn.*`), so that its weights fit by name.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model, get_model_builder, list_models, resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from unibench.errors import UnknownNameError
from unibench.joint.system import IMAGENET

TINY = (16, 24, 48, 64, 96)
"""Channels of the tiny network's maps at strides 2, 4, 8, 16, 32."""
EPSILON = 1e-3
"""Of the towers' batch norms: that of the TensorFlow code that both RetinaTrack and TDT come from."""
STAGES = ("layer1", "layer2", "layer3", "layer4")
"""Of a residual network: they give the maps at strides 4, 8, 16, 32."""
MOBILE = {"mobilenet_v2": ("3", "6", "13", "17")}
"""The same of other networks, among their `features`."""


def normalise(images: Tensor) -> Float[Tensor, "batch 3 height width"]:
    """RGB, 0 to 255 -> mean 0 and standard deviation 1 over ImageNet."""
    mean, std = (
        torch.tensor(values, device=images.device)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std)
    )
    return (images - mean) / std


def names() -> list[str]:
    """Networks that a `Backbone` can be built on."""
    residual = (name for name in list_models() if get_model_builder(name).__module__ == resnet.__name__)
    return [*residual, *MOBILE, "tiny"]


class Backbone(nn.Module):
    """Maps of a residual network and of a feature pyramid on top of it.

    `forward` takes normalised images and gives `c3`, `c4`, `c5` (of the network) and one map of `channels` channels a
    level, `p3` to `p7`; level l has a stride of 2**l pixels.
    """

    def __init__(self, name: str, *, channels: int = 256, levels: tuple[int, int] = (3, 7)) -> None:
        """Build it with random parameters.

        Args:
            name: One of `names()`.
            channels: Of each level of the pyramid.
            levels: The first (2 to 5) and the last (5 or more) of the pyramid.

        Raises:
            UnknownNameError: There is no such network.
        """
        super().__init__()
        if name not in names():
            raise UnknownNameError("backbone", name, names())
        first, last = levels
        network, stages = _network(name)
        self.levels = tuple(range(first, last + 1))
        self.widths = {
            level: _width(getattr(network, stage)) for level, stage in zip(range(2, 6), stages, strict=True)
        }
        """Channels of c2 to c5."""
        self.body = IntermediateLayerGetter(
            network,
            {
                stage: f"c{level}"
                for level, stage in zip(range(2, 6), stages, strict=True)
                if level >= min(first, 3)
            },
        )
        self.fpn = FeaturePyramidNetwork(
            [self.widths[level] for level in range(first, 6)],
            channels,
            extra_blocks=Strided(channels, last) if last > 5 else None,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels a cell of each level of the pyramid."""
        return tuple(2**level for level in self.levels)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Normalised images -> name -> map (batch, channels, height / stride, width / stride), rounded up."""
        maps = self.body(images)
        pyramid = self.fpn(
            OrderedDict((f"c{level}", maps[f"c{level}"]) for level in self.levels if level < 6)
        )
        found = {f"p{level}": value for level, value in zip(self.levels, pyramid.values(), strict=True)}
        return {**{name: maps[name] for name in ("c3", "c4", "c5")}, **found}

    def pyramid(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """The pyramid's levels alone, the finest first."""
        maps = self(images)
        return [maps[f"p{level}"] for level in self.levels]


class Strided(ExtraFPNBlock):  # type: ignore[misc]
    """Levels above the fifth, by convolutions of stride 2; torchvision's `LastLevelP6P7` with a last level."""

    def __init__(self, channels: int, last: int) -> None:
        super().__init__()
        for level in range(6, last + 1):
            convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            self.add_module(f"p{level}", convolution)

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Append the coarser maps and their names."""
        for index, (name, convolution) in enumerate(self.named_children()):
            results = [*results, convolution(F.relu(results[-1]) if index else results[-1])]
            names = [*names, name]
        return results, names


class LevelNorm(nn.Module):
    """Batch norm with parameters and statistics of its own for each level of a pyramid."""

    def __init__(self, channels: int, *, levels: int, momentum: float = 0.1) -> None:
        """Build it.

        Args:
            channels: Of every level.
            levels: How many.
            momentum: Share of the newest batch in the running statistics.
        """
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, EPSILON, momentum) for _ in range(levels))

    def forward(self, x: Float[Tensor, "batch channel h w"], level: int) -> Tensor:
        """Normalise the map of one level (0: the first)."""
        result: Tensor = self.norms[level](x)
        return result


class ConvNormAct(nn.Module):
    """A convolution that all levels share, the level's own batch norm, ReLU; the size stays."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, levels: int, groups: int = 1, momentum: float = 0.1
    ) -> None:
        """Build it.

        Args:
            inputs: Channels.
            outputs: Channels.
            kernel: Side, odd.
            levels: Of the pyramid.
            groups: Of channels that are convolved apart.
            momentum: Of the batch norms.
        """
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = LevelNorm(outputs, levels=levels, momentum=momentum)

    def forward(self, x: Float[Tensor, "batch channel h w"], level: int) -> Tensor:
        """The map of one level (0: the first)."""
        return F.relu(self.norm(self.conv(x), level))


def _network(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """A network with random parameters, and its stages."""
    if name in MOBILE:
        return get_model(name, weights=None).features, MOBILE[name]
    return (_tiny() if name == "tiny" else get_model(name, weights=None)), STAGES


def _tiny() -> nn.Module:
    """A residual network of one block a stage, in the names of torchvision's."""
    stem, *widths = TINY
    stages = zip(STAGES, (stem, *widths[:-1]), widths, strict=True)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
            bn1=nn.BatchNorm2d(stem),
            relu=nn.ReLU(inplace=True),
            **{name: nn.Sequential(_block(inputs, outputs)) for name, inputs, outputs in stages},
        )
    )


def _block(inputs: int, outputs: int) -> nn.Module:
    side = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    block: nn.Module = resnet.BasicBlock(inputs, outputs, stride=2, downsample=side)
    return block


def _width(stage: nn.Module) -> int:
    """Channels that a stage gives out: those of its last batch norm."""
    return [one.num_features for one in stage.modules() if isinstance(one, nn.BatchNorm2d)][-1]
