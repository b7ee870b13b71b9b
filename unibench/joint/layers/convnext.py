"""ConvNeXt as a detector's backbone; tensors are named as in the authors' code, which timm renames."""

from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6
"""Of all its layer norms."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """Normalise each cell."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """7x7 depthwise convolution, layer norm, two linear layers with a GELU between, all added to the input."""

    def __init__(self, channels: int, *, drop_path: float = 0.0, scale: float = 1.0) -> None:
        """Build it.

        Args:
            channels: Of input and output.
            drop_path: Share of samples of a training batch for which the block is left out.
            scale: Initial factor of what is added, one a channel.
        """
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(scale * torch.ones(channels))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
        """The map with what the block adds."""
        hidden = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        added = self.gamma * self.pwconv2(F.gelu(self.pwconv1(hidden)))
        result: Tensor = x + self.drop_path(added.permute(0, 3, 1, 2))
        return result


class ConvNeXt(nn.Module):
    """Four stages at strides 4, 8, 16, 32; the last three give a normalised map each.

    Reference:
        Liu et al., "A ConvNet for the 2020s", CVPR 2022.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        widths: tuple[int, int, int, int],
        *,
        drop_path: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        """Build it with random parameters.

        Args:
            depths: Blocks of each stage.
            widths: Channels of each stage.
            drop_path: Of the last block; it rises linearly from 0 at the first one.
            scale: Initial factor of what each block adds.
        """
        super().__init__()
        self.widths = widths[1:]
        """Channels of c3, c4, c5."""
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0]))
        steps = [
            nn.Sequential(ChannelNorm(first), nn.Conv2d(first, second, 2, stride=2))
            for first, second in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *steps])
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, drop_path=rate, scale=scale) for rate in rates[end - depth : end]))
            for depth, width, end in zip(depths, widths, accumulate(depths), strict=True)
        )
        self.norm1, self.norm2, self.norm3 = (ChannelNorm(width) for width in widths[1:])
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Images -> `c3`, `c4`, `c5`, maps at strides 8, 16, 32."""
        maps = []
        x = images
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
            maps.append(x)
        norms = (self.norm1, self.norm2, self.norm3)
        return {f"c{level}": norm(one) for level, norm, one in zip((3, 4, 5), norms, maps[1:], strict=True)}
