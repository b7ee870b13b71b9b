"""Descriptors without learning, as a floor for what is learnt: colour and oriented gradients."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Pooled(nn.Module):
    """The prepared pixels themselves (Lab colour, say), averaged over each cell."""

    def __init__(self, cell: int = 8) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Average over cells; a last partial cell averages what there is.

        Returns:
            `pooled`: (batch, 3, ceil(height / cell), ceil(width / cell)), the unit of the input.
        """
        return {"pooled": F.avg_pool2d(images, self.cell, ceil_mode=True, count_include_pad=False)}


class Hog(nn.Module):
    """Histograms of oriented gradients (Dalal & Triggs, CVPR 2005), as scikit-image computes them.

    Each cell carries its block of 3 x 3 cells around it, normalised together (L2-Hys), so that a cell is described
    with its surroundings, which single cells of 8 pixels are too small for.
    """

    def __init__(self, cell: int = 8, orientations: int = 9) -> None:
        super().__init__()
        self.cell = cell
        self.orientations = orientations

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Describe every cell.

        Returns:
            `hog`: (batch, 9 * orientations, ceil(height / cell), ceil(width / cell)), each 0 to 1.
        """
        height, width = images.shape[-2:]
        below, right = -height % self.cell, -width % self.cell
        frame = (self.cell, self.cell + right, self.cell, self.cell + below)
        padded = F.pad(images, frame, mode="replicate").permute(0, 2, 3, 1).cpu().numpy()
        maps = np.stack([self._describe(image) for image in padded])
        return {"hog": torch.from_numpy(maps).to(images)}

    def _describe(self, image: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "channel h w"]:
        from skimage.feature import hog

        blocks = hog(
            image,
            orientations=self.orientations,
            pixels_per_cell=(self.cell, self.cell),
            cells_per_block=(3, 3),
            feature_vector=False,
            channel_axis=-1,
        )
        h, w = blocks.shape[:2]
        channels: np.ndarray = blocks.reshape(h, w, -1).transpose(2, 0, 1)
        return np.ascontiguousarray(channels, dtype=np.float32)


def pooled(cell: int = 8) -> Pooled:
    """Build the cell average."""
    return Pooled(cell)


def hog(cell: int = 8, orientations: int = 9) -> Hog:
    """Build the gradient histograms."""
    return Hog(cell, orientations)
