"""A ResNet that is small enough to learn in minutes and to travel with the package."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

STRIDES = (1, 2, 1)
"""Of the layers, behind a stem of stride 4: the third keeps stride 8, as UniTrack runs its ResNets."""


class Block(nn.Module):
    """ResNet's basic block, named as torchvision's, which takes longer to import than a clip to track."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # The shortcut is made first: seeds keep giving the random weights that were scored.
        shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut

    def forward(
        self, features: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs h w"]:
        """Add what two convolutions find to the map, or to its projection where the shape changes."""
        found = self.relu(self.bn1(self.conv1(features)))
        found = self.bn2(self.conv2(found))
        summed: Tensor = self.relu(found + self.downsample(features))
        return summed


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
            Block(*sizes) for sizes in zip(inputs[:3], channels, STRIDES, strict=True)
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Compute the maps of the three layers, (batch, channel, h, w) at strides 4, 8, 8."""
        layer1 = self.layer1(self.stem(images))
        layer2 = self.layer2(layer1)
        return {"layer1": layer1, "layer2": layer2, "layer3": self.layer3(layer2)}


def small_resnet(channels: Sequence[int]) -> SmallResNet:
    """Build one with the channels of its three layers."""
    return SmallResNet(channels)
