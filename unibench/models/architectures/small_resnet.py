"""A ResNet that is small enough to learn in minutes and to travel with the package."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

STRIDES = (1, 2, 1)
"""Of the layers, behind a stem of stride 4: the third keeps stride 8, as UniTrack runs its ResNets."""


class SmallResNet(nn.Module):
    """A stem of stride 4, then three layers of one residual block each."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first = channels[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        inputs = [first, *channels]
        self.layer1, self.layer2, self.layer3 = (
            _block(*sizes) for sizes in zip(inputs[:3], channels, STRIDES, strict=True)
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Compute the maps of the three layers, (batch, channel, h, w) at strides 4, 8, 8."""
        layer1 = self.layer1(self.stem(images))
        layer2 = self.layer2(layer1)
        return {"layer1": layer1, "layer2": layer2, "layer3": self.layer3(layer2)}


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    block: nn.Module
    if inputs == outputs and stride == 1:
        block = BasicBlock(inputs, outputs)
        return block
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    block = BasicBlock(inputs, outputs, stride, shortcut)
    return block


def small_resnet(channels: Sequence[int]) -> SmallResNet:
    """Build one with the channels of its three layers."""
    return SmallResNet(channels)
