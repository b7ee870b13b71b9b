"""Sine position encodings of maps, of one frame (Deformable DETR) or several (TrackFormer)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TEMPERATURE = 10_000
EPSILON = 1e-6


def sine_2d(padding: Bool[Tensor, "batch h w"], dim: int) -> Float[Tensor, "batch dim h w"]:
    """Encode y, then x, of cell centres: 0 and 2 pi are the borders of the image without its padding.

    Args:
        padding: True on cells beyond the image.
        dim: A multiple of 4.

    Returns:
        The encoding, -1 to 1.

    Reference:
        Zhu et al., "Deformable DETR", ICLR 2021; its code's `PositionEmbeddingSine`.
    """
    return torch.cat([_waves(_share(~padding, axis, shift=0.5), dim // 2) for axis in (1, 2)], dim=1)


def sine_3d(
    padding: Bool[Tensor, "batch h w"], dim: int, frames: int
) -> Float[Tensor, "batch frame dim h w"]:
    """Encode time, y, x of cells: 2 pi is the last frame, and the last cells of the image without its padding.

    Unlike those of `sine_2d`, coordinates are of cells' far sides: two frames are at pi and 2 pi.

    Args:
        padding: True on cells beyond the image, the same in all frames.
        dim: A multiple of 6.
        frames: Number of them, oldest first.

    Returns:
        The encoding, -1 to 1.

    Reference:
        Meinhardt et al., "TrackFormer", CVPR 2022; its code's `PositionEmbeddingSine3D`.
    """
    inside = (~padding)[:, None].expand(-1, frames, -1, -1)
    return torch.cat(
        [_waves(_share(inside, axis, shift=0), dim // 3) for axis in (1, 2, 3)], dim=1
    ).transpose(1, 2)


def _share(inside: Bool[Tensor, "batch ..."], axis: int, *, shift: float) -> Float[Tensor, "batch ..."]:
    """Count cells of the image up to each one along an axis, as shares of all, times 2 pi; finite if there are none."""
    count = inside.cumsum(axis, dtype=torch.float32)
    total = count.narrow(axis, count.shape[axis] - 1, 1)
    return (count - shift) / (total + EPSILON) * (2 * math.pi)


def _waves(x: Float[Tensor, "batch ..."], dim: int) -> Float[Tensor, "batch dim ..."]:
    """Sine and cosine in turn, at dim / 2 frequencies."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=x.device) / dim
    angles = x[..., None] / TEMPERATURE**exponents
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).movedim(-1, 1)
