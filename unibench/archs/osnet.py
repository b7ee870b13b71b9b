"""OSNet (Zhou et al., ICCV 2019), with torchreid's parameter names so that its checkpoints load unchanged."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

STREAMS = ("conv2a", "conv2b", "conv2c", "conv2d")


class ConvLayer(nn.Module):
    """Convolution, batch normalisation and, unless `linear`, a rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
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
    """A residual block of four streams with receptive fields of 3, 5, 7 and 9 cells (section 3.2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = ConvLayer(inputs, middle, 1)
        self.conv2a: nn.Module = LightConv(middle, middle)
        for depth, name in enumerate(STREAMS[1:], start=2):
            self.add_module(name, nn.Sequential(*(LightConv(middle, middle) for _ in range(depth))))
        self.gate = ChannelGate(middle)
        self.conv3 = ConvLayer(middle, outputs, 1, linear=True)
        self.downsample = ConvLayer(inputs, outputs, 1, linear=True) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        """Add the gated streams to the input."""
        squeezed = self.conv1(maps)
        streams: Tensor = sum(self.gate(self.get_submodule(name)(squeezed)) for name in STREAMS)
        identity = maps if self.downsample is None else self.downsample(maps)
        return torch.relu(self.conv3(streams) + identity)


class OSNet(nn.Module):
    """The four stages; the pooled embedding after them is not part of the maps."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, third, fourth = channels
        self.conv1 = ConvLayer(3, first, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(first, second, reduce=True)
        self.conv3 = _stage(second, third, reduce=True)
        self.conv4 = _stage(third, fourth, reduce=False)
        self.conv5 = ConvLayer(fourth, fourth, 1)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Compute the maps after each stage.

        Returns:
            `conv2` at 8 pixels per cell, `conv3`, `conv4` and `conv5` at 16, each (batch, channel, h, w).
        """
        maps = {"conv2": self.conv2(self.maxpool(self.conv1(images)))}
        maps["conv3"] = self.conv3(maps["conv2"])
        maps["conv4"] = self.conv4(maps["conv3"])
        maps["conv5"] = self.conv5(maps["conv4"])
        return maps


def _stage(inputs: int, outputs: int, *, reduce: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [OmniScaleBlock(inputs, outputs), OmniScaleBlock(outputs, outputs)]
    if reduce:
        blocks.append(
            nn.Sequential(ConvLayer(outputs, outputs, 1), nn.AvgPool2d(2, stride=2, ceil_mode=True))
        )
    return nn.Sequential(*blocks)


def osnet(channels: Sequence[int]) -> OSNet:
    """Build an OSNet of the given widths: x1.0 has 64, 256, 384, 512; x0.25 has 16, 64, 96, 128."""
    return OSNet(channels)
