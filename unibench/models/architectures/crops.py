"""A few strided convolutions that embed crops of objects: enough to tell rendered shapes apart."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class CropNet(nn.Module):
    """3x3 convolutions of stride 2 with batch norms and ReLUs, then a linear embedding of every cell."""

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise([3, *channels]):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            parts += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        self.trunk = nn.Sequential(*parts)
        self.last = nn.Conv2d(channels[-1], dim, 1)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Compute `trunk` and `embedding`, (batch, channel, h, w) each; the latter's mean is the crop's embedding."""
        trunk: Tensor = self.trunk(images)
        return {"trunk": trunk, "embedding": self.last(trunk)}


def crop_net(channels: Sequence[int], dim: int) -> CropNet:
    """Build one with these channels after each halving, and embeddings of `dim` elements."""
    return CropNet(channels, dim)
