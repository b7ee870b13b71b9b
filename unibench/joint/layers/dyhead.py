"""DyHead's attention over place, level and task, and the mean over frames that TrIVD adds; tensors as in DyHead's code.

Reference: Dai et al., "Dynamic Head", CVPR 2021.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 16
"""Of the norms."""
SAMPLES = 9
"""Of a 3x3 kernel."""
SQUEEZE = 4
"""Channels over hidden channels where an activation chooses its slopes."""


class DeformableConvolution(nn.Module):
    """A 3x3 convolution whose samples are moved and weighted, then a group norm.

    torchvision's is the same; on a CPU its backward pass takes several times as long as that of `grid_sample`.
    """

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1)
        self.bn = nn.GroupNorm(GROUPS, channels)  # so called in the official files

    def forward(
        self,
        x: Float[Tensor, "batch channel h w"],
        offsets: Float[Tensor, "batch 18 rows columns"],
        weights: Float[Tensor, "batch 9 rows columns"],
    ) -> Float[Tensor, "batch channel rows columns"]:
        """Offsets are y, x of each sample, in cells of the input; rows and columns are those of the result."""
        height, width = x.shape[2:]
        rows, columns = offsets.shape[2:]
        stride = self.conv.stride[0]
        kernel = torch.arange(-1, 2, device=x.device)
        y = offsets[:, 0::2] + kernel.repeat_interleave(3)[:, None, None]
        y = y + stride * torch.arange(rows, device=x.device)[:, None]
        along = (
            offsets[:, 1::2]
            + kernel.repeat(3)[:, None, None]
            + stride * torch.arange(columns, device=x.device)
        )
        places = torch.stack([(2 * along + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        seen = F.grid_sample(
            x, places.flatten(1, 2), mode="bilinear", padding_mode="zeros", align_corners=False
        )
        seen = (
            seen.view(len(x), -1, SAMPLES, rows, columns) * weights[:, None]
        )  # batch, channel, sample, row, column
        mixed = (
            self.conv.weight.flatten(1) @ seen.flatten(1, 2).flatten(2)
            + self.conv.get_parameter("bias")[:, None]
        )
        result: Tensor = self.bn(mixed.view(len(x), -1, rows, columns))
        return result


class DynamicRelu(nn.Module):
    """The larger of two lines, whose slopes and intercepts depend on the map's mean; untrained about a ReLU.

    Reference:
        Chen et al., "Dynamic ReLU", ECCV 2020.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // SQUEEZE
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels), nn.Hardsigmoid()
        )

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """The map after the activation."""
        coefficients = self.fc(x.mean(dim=(2, 3))) - 0.5
        slope, intercept, slope2, intercept2 = coefficients[:, :, None, None].chunk(4, dim=1)
        return torch.maximum(x * (2 * slope + 1) + intercept, x * (2 * slope2) + intercept2)


class DyConv(nn.Module):
    """One block of DyHead: each level becomes the weighted mean of itself and its neighbours, at places it chooses.

    A level's own offsets say where all three convolutions look. The coarser level has fewer cells, so those for it are
    cut to its size, at the top left. The authors' kernel reads the uncut array with the coarser level's row length, a
    known flaw that is not repeated; all other terms are theirs.
    """

    def __init__(self, channels: int) -> None:
        """Build it.

        Args:
            channels: Of all levels, a multiple of 16 and at least 32: with one channel a group, a norm of a level
                of one cell would have nothing to compare.
        """
        super().__init__()
        self.DyConv = nn.ModuleList(
            DeformableConvolution(channels, stride=stride) for stride in (1, 1, 2)
        )  # from the coarser level, the level itself, the finer level
        scale = nn.Conv2d(channels, 1, 1)
        nn.init.normal_(scale.weight, std=0.01)
        nn.init.zeros_(scale.get_parameter("bias"))
        self.AttnConv = nn.Sequential(nn.AdaptiveAvgPool2d(1), scale, nn.ReLU())
        self.relu = DynamicRelu(channels)
        self.offset = nn.Conv2d(channels, 3 * SAMPLES, 3, padding=1)

    def forward(self, levels: Sequence[Float[Tensor, "batch channel _h _w"]]) -> list[Tensor]:
        """Mix the levels.

        Args:
            levels: Any number, fine to coarse; each has half of the rows and columns of the one before, rounded up.

        Returns:
            Maps of the same sizes.
        """
        from_coarser, own, from_finer = self.DyConv
        mixed = []
        for index, level in enumerate(levels):
            offsets, logits = self.offset(level).split([2 * SAMPLES, SAMPLES], dim=1)
            weights = logits.sigmoid()
            terms = [own(level, offsets, weights)]
            if index > 0:
                terms.append(from_finer(levels[index - 1], offsets, weights))
            if index < len(levels) - 1:
                coarser = levels[index + 1]
                h, w = coarser.shape[2:]
                term = from_coarser(coarser, offsets[:, :, :h, :w], weights[:, :, :h, :w])
                terms.append(F.interpolate(term, size=level.shape[2:], mode="bilinear", align_corners=True))
            scaled = [one * F.hardsigmoid(self.AttnConv(one)) for one in terms]
            mixed.append(self.relu(torch.stack(scaled).mean(dim=0)))
        return mixed


class TemporalMean(nn.Module):
    """Weighted mean of one level's maps of several frames; each frame's weight, 0 to 1, follows from its own map.

    All frames count alike, the key frame too. One frame alone stays as it is, without a weight.

    Reference:
        TrIVD, equation 4. It does not say how frames are mixed; that they are summed is our reading.
    """

    def __init__(self, channels: int) -> None:
        """Build it.

        Args:
            channels: Of the maps.
        """
        super().__init__()
        self.linear = nn.Linear(channels, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, frames: Float[Tensor, "batch frame channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """Mean over the frames, to the last bit the same in whatever order they come."""
        if frames.shape[1] == 1:
            return frames[:, 0]
        # Not a matrix product, whose last bits depend on the row in which a frame stands.
        logits = (frames.mean(dim=(3, 4)) * self.linear.weight).sum(dim=2) + self.linear.bias
        weighted = frames * F.hardsigmoid(logits)[:, :, None, None, None]
        # Floating-point sums depend on the order of their terms: it is that of their values, not that of the frames.
        return weighted.sort(dim=1).values.mean(dim=1)
