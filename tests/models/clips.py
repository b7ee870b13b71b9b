"""A clip encoder that is blind to time, and one that sees nothing else: small networks whose maps are known."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Blind(nn.Module):
    """Mean of each cell's pixels and of their squares, frame by frame; a window's frames are never mixed."""

    def __init__(self, tubelet: int = 1) -> None:
        super().__init__()
        self.tubelet = tubelet

    def forward(self, shown: Tensor) -> Mapping[str, Tensor]:
        frames = shown[:, :: self.tubelet] if shown.ndim == 5 else shown[:, None]
        height, width = (length // 8 for length in frames.shape[-2:])
        cells = frames[..., : 8 * height, : 8 * width].reshape(*frames.shape[:3], height, 8, width, 8)
        maps = torch.cat([cells.mean(dim=(4, 6)), cells.square().mean(dim=(4, 6))], dim=2)
        return {"map": maps if shown.ndim == 5 else maps[:, 0]}


class Clock(nn.Module):
    """For each slot of a window, the means of all its frames: what was shown can be read off the map."""

    def __init__(self, tubelet: int = 1) -> None:
        super().__init__()
        self.tubelet = tubelet

    def forward(self, shown: Tensor) -> Mapping[str, Tensor]:
        means = shown.mean(dim=(2, 3, 4))
        slots = shown.shape[1] // self.tubelet
        h, w = (length // 8 for length in shown.shape[-2:])
        return {"map": means[:, None, :, None, None].expand(-1, slots, -1, h, w)}


def blind(tubelet: int = 1) -> nn.Module:
    return Blind(tubelet)


def clock(tubelet: int = 1) -> nn.Module:
    return Clock(tubelet)


def names(frames: Sequence[int]) -> list[float]:
    """What `Clock` gives where a frame's pixels all have the value of its number."""
    return [float(one) for one in frames]


class Convolution(nn.Module):
    """One convolution of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 6, 8, stride=8, bias=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"map": self.layer(images)}


def convolution() -> nn.Module:
    return Convolution()
