"""The two-convolution trunk of DCFNet (Wang et al., 2017), which UDT (Wang et al., CVPR 2019) trains without labels."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Trunk(nn.Module):
    """Two 3x3 convolutions and a local response normalisation; its maps have the size of the image.

    The heads of unibench work at 8 pixels per cell, so the full-size map is averaged over cells.
    """

    def __init__(self, cell: int = 8) -> None:
        super().__init__()
        self.cell = cell
        self.feature = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0),
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Describe every cell.

        Args:
            images: BGR, 0-255 less the mean colour.

        Returns:
            `trunk`: (batch, 32, ceil(height / cell), ceil(width / cell)).
        """
        full = self.feature(images)
        return {"trunk": F.avg_pool2d(full, self.cell, ceil_mode=True, count_include_pad=False)}


def trunk(cell: int = 8) -> Trunk:
    """Build the trunk."""
    return Trunk(cell)
