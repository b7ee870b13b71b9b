"""OSNet (Zhou et al., ICCV 2019), with torchreid's parameter names so that its checkpoints load unchanged."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

STREAMS = ("conv2a", "conv2b", "conv2c", "conv2d")
EMBEDDING = 512
"""Channels of the embedding, whatever the width."""
PLAIN = ((False, False), (False, False), (False, False))
AIN = ((True, True), (False, True), (True, False))
"""Which blocks of the three stages have an instance normalisation: found by a search in the paper of OSNet-AIN."""


class ConvLayer(nn.Module):
    """Convolution, normalisation (over the batch if nothing else is given) and, unless `linear`, a rectifier."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        linear: bool = False,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs) if norm is None else norm
        self.linear = linear

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the three."""
        normalised = self.bn(self.conv(maps))
        return normalised if self.linear else torch.relu(normalised)


class LightConv(nn.Module):
    """A 3x3 convolution factored into a pointwise and a depthwise one (paper, section 3.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Apply both."""
        return torch.relu(self.bn(self.conv2(self.conv1(maps))))


class ChannelGate(nn.Module):
    """Weights of the channels from their means over the map (the unified aggregation gate, section 3.2)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh the channels, each by a number between 0 and 1."""
        means = maps.mean(dim=(2, 3), keepdim=True)
        return maps * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class OmniScaleBlock(nn.Module):
    """A residual block of four streams with receptive fields of 3, 5, 7 and 9 cells (section 3.2).

    Args:
        inputs: Channels.
        outputs: Channels.
        instance: Whether the residual is normalised over each image instead of over the batch (OSNet-AIN).
    """

    def __init__(self, inputs: int, outputs: int, *, instance: bool = False) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = ConvLayer(inputs, middle, 1)
        self.conv2a: nn.Module = LightConv(middle, middle)
        for depth, name in enumerate(STREAMS[1:], start=2):
            self.add_module(name, nn.Sequential(*(LightConv(middle, middle) for _ in range(depth))))
        self.gate = ChannelGate(middle)
        self.conv3 = ConvLayer(middle, outputs, 1, linear=True, norm=nn.Identity() if instance else None)
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if instance else nn.Identity()
        self.downsample = ConvLayer(inputs, outputs, 1, linear=True) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        """Add the gated streams to the input."""
        squeezed = self.conv1(maps)
        streams: Tensor = sum(self.gate(self.get_submodule(name)(squeezed)) for name in STREAMS)
        identity = maps if self.downsample is None else self.downsample(maps)
        return torch.relu(self.IN(self.conv3(streams)) + identity)


class OSNet(nn.Module):
    """The four stages, and the fully connected layer of the embedding, applied to every cell.

    Args:
        channels: Of the stem and of the three stages.
        instance: For each block of the three stages, whether it has an instance normalisation; the stem has one
            where any block has.
    """

    def __init__(self, channels: Sequence[int], instance: Sequence[Sequence[bool]] = PLAIN) -> None:
        super().__init__()
        first, second, third, fourth = channels
        norm = nn.InstanceNorm2d(first, affine=True) if any(map(any, instance)) else None
        self.conv1 = ConvLayer(3, first, 7, stride=2, norm=norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(first, second, instance[0], reduce=True)
        self.conv3 = _stage(second, third, instance[1], reduce=True)
        self.conv4 = _stage(third, fourth, instance[2], reduce=False)
        self.conv5 = ConvLayer(fourth, fourth, 1)
        self.fc = nn.Sequential(nn.Linear(fourth, EMBEDDING), nn.BatchNorm1d(EMBEDDING))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Compute the maps after each stage, and the embedding of each cell.

        The last layer is linear up to its rectifier, which is left out here: the mean of `embedding` over the map of
        a person's image, rectified, is the embedding that torchreid gives of it.

        Returns:
            `conv2` at 8 pixels per cell, `conv3`, `conv4`, `conv5` and `embedding` at 16, each (batch, channel, h, w).
        """
        maps = {"conv2": self.conv2(self.maxpool(self.conv1(images)))}
        maps["conv3"] = self.conv3(maps["conv2"])
        maps["conv4"] = self.conv4(maps["conv3"])
        maps["conv5"] = self.conv5(maps["conv4"])
        cells = maps["conv5"].movedim(1, -1)
        embedded: Tensor = self.fc(cells.flatten(0, 2)).unflatten(0, cells.shape[:3])
        maps["embedding"] = embedded.movedim(-1, 1)
        return maps


def _stage(inputs: int, outputs: int, instance: Sequence[bool], *, reduce: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [
        OmniScaleBlock(inputs, outputs, instance=instance[0]),
        OmniScaleBlock(outputs, outputs, instance=instance[1]),
    ]
    if reduce:
        blocks.append(
            nn.Sequential(ConvLayer(outputs, outputs, 1), nn.AvgPool2d(2, stride=2, ceil_mode=True))
        )
    return nn.Sequential(*blocks)


def osnet(channels: Sequence[int]) -> OSNet:
    """Build an OSNet of the given widths: x1.0 has 64, 256, 384, 512; x0.25 has 16, 64, 96, 128."""
    return OSNet(channels)


def osnet_ain(channels: Sequence[int]) -> OSNet:
    """Build an OSNet-AIN, in which some blocks normalise over each image, so that the camera's style matters less.

    torchreid names a few of its parts otherwise than those of OSNet; the card renames them.

    Reference:
        Zhou et al., "Learning Generalisable Omni-Scale Representations for Person Re-Identification", TPAMI 2021.
    """
    return OSNet(channels, AIN)
