"""Multi-scale deformable attention in plain torch; tensors are named as in Deformable DETR's code."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


class DeformableAttention(nn.Module):
    """Each query looks at a few points of every level, which it chooses itself around its reference.

    Reference:
        Zhu et al., "Deformable DETR", ICLR 2021, section 4.1.
    """

    def __init__(self, dim: int, *, levels: int, heads: int, points: int) -> None:
        """Build it.

        Args:
            dim: Of queries and values, a multiple of the heads.
            levels: Maps that are looked at.
            heads: Which look apart.
            points: Of each head in each level.
        """
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._initialise()

    def _initialise(self) -> None:
        """Each head looks in a direction of its own, one step farther with each point."""
        angles = torch.arange(self.heads, device=self.sampling_offsets.weight.device) * (
            2 * math.pi / self.heads
        )
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, device=angles.device)
        offsets = directions[:, None, None] * steps[:, None]
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data = offsets.expand(-1, self.levels, -1, -1).flatten().clone()
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        queries: Float[Tensor, "batch query dim"],
        references: Float[Tensor, "batch query level coordinate"],
        values: Float[Tensor, "batch cell dim"],
        shapes: Sequence[tuple[int, int]],
        padding: Bool[Tensor, "batch cell"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Look.

        Args:
            queries: Say where to look, and how much weight each point has.
            references: x, y of each query's point in each level, as shares of its width and height; or x, y, width,
                height of a box, whose half sides are then the unit of offsets (divided by the points), not cells.
            values: The levels' cells, row by row, one level after the other.
            shapes: Height and width of each level.
            padding: True on cells that count as 0.

        Returns:
            What each query sees.
        """
        batch, count, _ = queries.shape
        projected = self.value_proj(values)
        if padding is not None:
            projected = projected.masked_fill(padding[..., None], 0)
        offsets = self.sampling_offsets(queries).view(batch, count, self.heads, self.levels, self.points, 2)
        weights = self.attention_weights(queries).view(batch, count, self.heads, -1).softmax(dim=-1)
        centres = references[:, :, None, :, None, :2]
        if references.shape[-1] == 2:
            unit = torch.tensor([(w, h) for h, w in shapes], device=offsets.device, dtype=offsets.dtype)
            places = centres + offsets / unit[:, None]
        else:
            places = centres + offsets / self.points * references[:, :, None, :, None, 2:] * 0.5
        result: Tensor = self.output_proj(self._gather(projected, shapes, places, weights))
        return result

    def _gather(
        self,
        values: Float[Tensor, "batch cell dim"],
        shapes: Sequence[tuple[int, int]],
        places: Float[Tensor, "batch query head level point 2"],
        weights: Float[Tensor, "batch query head _sample"],
    ) -> Float[Tensor, "batch query dim"]:
        """Weighted sums of bilinear samples; beyond a level's border is 0."""
        batch, count = places.shape[:2]
        grids = 2 * places - 1
        sampled = []
        for level, (cells, shape) in enumerate(
            zip(torch.split(values, [h * w for h, w in shapes], dim=1), shapes, strict=True)
        ):
            maps = (
                cells.reshape(batch, -1, self.heads, cells.shape[2] // self.heads)
                .permute(0, 2, 3, 1)
                .flatten(0, 1)
            )
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            sampled.append(
                F.grid_sample(
                    maps.reshape(*maps.shape[:2], *shape),
                    grid,
                    mode="bilinear",
                    padding_mode="zeros",
                    align_corners=False,
                )
            )
        shares = weights.transpose(1, 2).flatten(0, 1)[:, None]
        seen = (torch.cat(sampled, dim=-1) * shares).sum(dim=-1)
        return seen.view(batch, -1, count).transpose(1, 2)
