"""Clip encoders: networks of windows (batch, frame, 3, height, width) whose maps have an axis of time.

Parameters are named as in the released files, VideoMAE's as upstream's own code has them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 14
"""Cells a side of the images that VideoMAE was trained on: 224 pixels in patches of 16."""


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        mixed = F.linear(tokens, self.qkv.weight, bias).unflatten(2, (3, self.heads, -1))  # type: ignore[no-untyped-call]
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.proj(seen)  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))  # type: ignore[no-any-return]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = _Attention(width, heads), _Mlp(width, ratio)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]


class _PatchEmbedding(nn.Module):
    def __init__(self, width: int, patch: int, tubelet: int) -> None:
        super().__init__()
        size = (tubelet, patch, patch)
        self.proj = nn.Conv3d(3, width, size, size)


class VideoMAE(nn.Module):
    """The encoder of VideoMAE, all patches shown; its fixed positions are resized to other grids."""

    def __init__(
        self, width: int, depth: int, heads: int, tubelet: int, patch: int, nodes: Sequence[int]
    ) -> None:
        super().__init__()
        self.patch, self.nodes = patch, tuple(nodes)
        self.patch_embed = _PatchEmbedding(width, patch, tubelet)
        self.blocks = nn.ModuleList(_Block(width, heads, 4) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, windows: Tensor) -> Mapping[str, Tensor]:
        """Windows (batch, frame, 3, height, width) -> node -> (batch, slot, width, h, w), normalised."""
        *_, height, width = windows.shape
        padded = F.pad(windows, (0, -width % self.patch, 0, -height % self.patch))
        cells = self.patch_embed.proj(padded.transpose(1, 2))
        slots, h, w = cells.shape[2:]
        tokens = (cells + _positions(cells.shape[1], slots, h, w).to(cells)).flatten(2).transpose(1, 2)
        maps = {}
        for number, block in enumerate(self.blocks[: max(self.nodes)], start=1):
            tokens = block(tokens)
            if number in self.nodes:
                found = self.norm(tokens).reshape(len(windows), slots, h, w, -1)
                maps[f"block{number}"] = found.permute(0, 1, 4, 2, 3).contiguous()
        return maps


def _positions(width: int, slots: int, h: int, w: int) -> Tensor:
    """Sines and cosines over all tokens of the training's grid in one row, (width, slots, h, w)."""
    rows = np.arange(slots * GRID * GRID)[:, None]
    angles = rows / np.power(10000.0, 2 * (np.arange(width) // 2) / width)
    table = np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)
    grid = torch.from_numpy(table).reshape(slots, GRID, GRID, width).permute(0, 3, 1, 2)
    if (h, w) != (GRID, GRID):
        grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False)
    return grid.transpose(0, 1)


def videomae(
    width: int = 768, depth: int = 12, heads: int = 12, tubelet: int = 2, patch: int = 16,
    nodes: Sequence[int] = (6, 9, 12),
) -> nn.Module:  # fmt: skip
    """Build VideoMAE's encoder (v1 or v2).

    Args:
        width: Channels.
        depth: Blocks.
        heads: Of the attention.
        tubelet: Frames of a token.
        patch: Pixels of a token's side.
        nodes: Blocks whose tokens are given, counted from 1.

    Reference:
        Tong et al. 2022, "VideoMAE", arXiv 2203.12602; Wang et al. 2023, "VideoMAE V2", arXiv 2303.16727.
    """
    return VideoMAE(width, depth, heads, tubelet, patch, nodes)


def _conv(inner: int, outer: int, kernel: tuple[int, int, int], stride: int = 1) -> nn.Conv3d:
    padding = kernel[0] // 2, kernel[1] // 2, kernel[2] // 2
    return nn.Conv3d(inner, outer, kernel, (1, stride, stride), padding, bias=False)


class _Branch(nn.Module):
    def __init__(self, inner: int, middle: int, outer: int, time: int, stride: int) -> None:
        super().__init__()
        self.conv_a, self.norm_a = _conv(inner, middle, (time, 1, 1)), nn.BatchNorm3d(middle)
        self.conv_b, self.norm_b = _conv(middle, middle, (1, 3, 3), stride), nn.BatchNorm3d(middle)
        self.conv_c, self.norm_c = _conv(middle, outer, (1, 1, 1)), nn.BatchNorm3d(outer)

    def forward(self, maps: Tensor) -> Tensor:
        maps = F.relu(self.norm_a(self.conv_a(maps)))
        maps = F.relu(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    def __init__(self, inner: int, middle: int, outer: int, time: int, stride: int) -> None:
        super().__init__()
        self.branch1_conv: nn.Module | None = None
        if inner != outer:
            self.branch1_conv, self.branch1_norm = (
                _conv(inner, outer, (1, 1, 1), stride),
                nn.BatchNorm3d(outer),
            )
        self.branch2 = _Branch(inner, middle, outer, time, stride)

    def forward(self, maps: Tensor) -> Tensor:
        kept = maps if self.branch1_conv is None else self.branch1_norm(self.branch1_conv(maps))
        return F.relu(kept + self.branch2(maps))


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = _conv(3, 64, (1, 7, 7), 2), nn.BatchNorm3d(64)

    def forward(self, frames: Tensor) -> Tensor:
        return F.max_pool3d(F.relu(self.norm(self.conv(frames))), (1, 3, 3), (1, 2, 2), (0, 1, 1))


class _Stage(nn.Module):
    def __init__(self, inner: int, middle: int, depth: int, time: int, stride: int) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(
            _Bottleneck(4 * middle if index else inner, middle, 4 * middle, time, 1 if index else stride)
            for index in range(depth)
        )

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.res_blocks:
            maps = block(maps)
        return maps


class SlowResNet(nn.Module):
    """A ResNet inflated in time: kernels of three frames in its last two stages, no stride over time."""

    def __init__(self, depths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        inners, middles, times = (64, 256, 512, 1024), (64, 128, 256, 512), (1, 1, 3, 3)
        stages = [_Stage(*one) for one in zip(inners, middles, depths, times, strides, strict=True)]
        self.blocks = nn.ModuleList([_Stem(), *stages])

    def forward(self, windows: Tensor) -> Mapping[str, Tensor]:
        """Windows (batch, frame, 3, height, width) -> node -> (batch, frame, channels, h, w)."""
        maps, found = windows.transpose(1, 2), {}
        for number, block in enumerate(self.blocks, start=1):
            maps = block(maps)
            found[f"res{number}"] = maps.transpose(1, 2)
        return found


def slow_resnet(depths: Sequence[int] = (3, 4, 6, 3), strides: Sequence[int] = (1, 2, 2, 2)) -> nn.Module:
    """Build the slow pathway of SlowFast, alone: a ResNet-50 inflated in time.

    Args:
        depths: Blocks of each stage.
        strides: Of each stage, over height and width.

    Reference:
        Feichtenhofer et al. 2019, "SlowFast networks for video recognition", arXiv 1812.03982.
    """
    return SlowResNet(depths, strides)
