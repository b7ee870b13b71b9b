"""Anchors: the boxes that a detector starts from, and which object each of them stands for in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float, Int
from msgspec import Meta
from torch import Tensor

from unibench.geometry.boxes import iou
from unibench.joint.ranges import Factor


@dataclass(frozen=True)
class AnchorOptions:
    """The anchors of one cell, in the order: every scale of the first ratio, every scale of the second, ..."""

    ratios: Annotated[tuple[Factor, ...], Meta(min_length=1, max_length=32)]
    """Width / height."""
    scales: Annotated[tuple[Factor, ...], Meta(min_length=1, max_length=32)]
    """Factors of `size`."""
    size: Factor = 4.0
    """Side of the square anchor of scale 1, in strides of its level."""
    weights: tuple[Factor, Factor, Factor, Factor] = (10.0, 10.0, 5.0, 5.0)
    """Of the box coder: what the offsets of x, y, width, height are multiplied by."""
    matched: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """IoU with an object from which on an anchor stands for it; below, it is background."""

    @property
    def count(self) -> int:
        """Anchors per cell."""
        return len(self.ratios) * len(self.scales)


BACKGROUND = -1
IGNORED = -2
PAIRS = 1 << 20
"""Pairs of an anchor and a box whose overlap is in memory at a time: 4 MB in single precision."""


def grid(
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    options: AnchorOptions,
    device: torch.device | str = "cpu",
) -> list[Float[Tensor, "anchor 4"]]:
    """Lay the anchors of every level of a pyramid over the canvas.

    Args:
        shapes: Height and width of each level, cells.
        strides: Pixels a cell of each level.
        options: Shapes and sizes.
        device: Where they shall be.

    Returns:
        Per level xyxy, pixels of the canvas, centred on the cells' centres; not cut at the border. Rows run over
        the rows of cells, then the columns, then the anchors of a cell: every scale of the first ratio, ...
    """
    return [_level(shape, stride, options, device) for shape, stride in zip(shapes, strides, strict=True)]


def assign(
    anchors: Float[Tensor, "anchor 4"],
    truth: Float[Tensor, "object 4"],
    *,
    threshold: float,
    force_best: bool = True,
    ignored: Float[Tensor, "region 4"] | None = None,
) -> Int[Tensor, " anchor"]:
    """Say which object each anchor stands for.

    An anchor stands for the object that it overlaps most. With `force_best` every object also gets the anchor that
    overlaps it most, however little, unless another object overlaps that anchor more and wants it too.

    Args:
        anchors: xyxy, pixels.
        truth: Boxes of the objects, xyxy, pixels.
        threshold: IoU from which on an anchor stands for an object.
        force_best: Whether an object that overlaps no anchor enough gets its best one nevertheless.
        ignored: Where nothing is learnt, xyxy, pixels: a background anchor of which a share of `threshold` or more
            lies in one of these regions is neither object nor background. None: nowhere.

    Returns:
        Index of the object, `BACKGROUND` or `IGNORED`. Of equal overlaps the first object, or anchor, counts.

    Reference:
        RetinaTrack, section 3.4.
    """
    match = _match(anchors, truth, iou)
    result = match.index.masked_fill(match.overlap < threshold, BACKGROUND)
    if ignored is not None:
        inside = _match(anchors, ignored, partial(iou, over_first=True)).overlap
        result = result.masked_fill((result == BACKGROUND) & (inside >= threshold), IGNORED)
    if force_best:
        objects = match.best_overlap.argsort(descending=True, stable=True)
        objects = objects[
            match.best[objects].argsort(stable=True)
        ]  # those that want one anchor stand together
        wanted = match.best[objects]
        first = torch.ones_like(wanted, dtype=torch.bool)
        first[1:] = wanted[1:] != wanted[:-1]
        first &= match.best_overlap[objects] > 0
        result[wanted[first]] = objects[first]
    return result


@dataclass(frozen=True, eq=False)
class _Match:
    """The pairs that overlap most; of equal overlaps the first."""

    overlap: Float[Tensor, " anchor"]
    """0 where there is no box."""
    index: Int[Tensor, " anchor"]
    best_overlap: Float[Tensor, " box"]
    best: Int[Tensor, " box"]
    """The anchor."""


def _match(anchors: Tensor, others: Tensor, overlap: Callable[[Tensor, Tensor], Tensor]) -> _Match:
    size, count = len(anchors), len(others)
    best_overlap, best = others.new_zeros(count), others.new_zeros(count, dtype=torch.int64)
    if not count or not size:
        return _Match(anchors.new_zeros(size), anchors.new_zeros(size, dtype=torch.int64), best_overlap, best)
    step = max(1, PAIRS // count)
    found = []
    # The whole matrix would be large: TDT has 389 205 anchors at 1080 x 1920 pixels.
    for start in range(0, size, step):
        part = overlap(anchors[start : start + step], others)
        found.append(part.max(dim=1))
        most = part.max(dim=0)
        better = most.values > best_overlap
        best_overlap = torch.where(better, most.values, best_overlap)
        best = torch.where(better, most.indices + start, best)
    values, indices = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _Match(values, indices, best_overlap, best)


def _level(
    shape: tuple[int, int], stride: int, options: AnchorOptions, device: torch.device | str
) -> Float[Tensor, "anchor 4"]:
    sizes = torch.tensor(
        [
            (options.size * stride * scale * ratio**0.5, options.size * stride * scale / ratio**0.5)
            for ratio in options.ratios
            for scale in options.scales
        ],
        device=device,
    )
    y, x = ((torch.arange(cells, device=device) + 0.5) * stride for cells in shape)
    centres = torch.stack([*torch.meshgrid(x, y, indexing="xy")], dim=-1)[:, :, None]
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1).reshape(-1, 4)
