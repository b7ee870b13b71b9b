"""Top-k soft-max affinity between feature grids: exact, tile by tile, and a dense reference.

A query cell reads the labels of its k most alike key cells, drawn jointly from several source frames, and weights
them by a soft-max over these k similarities. Similarities are inner products; of unit vectors, cosines.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product as pairs
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

TILE = 12
"""Side in cells of the square of queries that share one product: larger wastes products, smaller wastes calls."""
WHOLE_TILE = 16
"""The same where every key is seen, so that no product is wasted; larger takes more memory."""
LARGE_TILE = 64
"""The same where calls cost more than products: off the CPU."""

_INSIDE: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "circle": lambda dy, dx, radius: dy**2 + dx**2 < radius**2,
    "disc": lambda dy, dx, radius: dy**2 + dx**2 <= radius**2,
    "square": lambda dy, dx, radius: torch.maximum(dy.abs(), dx.abs()) <= radius,
}


@dataclass(frozen=True)
class Window:
    """Which key cells a query cell sees: those around its own position."""

    radius: int | float
    """Cells."""
    shape: str = "circle"
    """`circle`: Euclidean distance < radius; `disc`: <= radius; `square`: |dx| and |dy| <= radius."""

    def __post_init__(self) -> None:
        if self.shape not in _INSIDE:
            raise ValueError(f"window: shape {self.shape!r}; there are: {', '.join(_INSIDE)}")
        if not self.radius > 0:
            raise ValueError(f"window: radius {self.radius}, expected more than 0 cells; None means no limit")

    def inside(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Tell which offsets between key and query are seen.

        Args:
            dy: vertical offsets in cells.
            dx: horizontal offsets in cells, of a shape that broadcasts with `dy`.
        """
        return _INSIDE[self.shape](dy, dx, self.radius)

    @property
    def reach(self) -> int:
        """Cells up or down, left or right, beyond which nothing is seen."""
        return math.ceil(self.radius) - 1 if self.shape == "circle" else math.floor(self.radius)


@dataclass(frozen=True, eq=False)
class Source:
    """One frame to read labels from."""

    keys: Float[Tensor, "channel h w"]
    labels: Float[Tensor, "label h w"]
    window: Window | None = None
    """None: every cell is seen from everywhere."""
    repeats: int = 1
    """How often the frame stands in the list of sources; its keys compete for the k places this many times."""


class Nearest(NamedTuple):
    """The k best keys of every query; where fewer are seen, places of similarity -inf follow."""

    similarity: Float[Tensor, "query k"]
    key: Int[Tensor, "query k"]
    """Index of the key cell, row by row, frame by frame; of no meaning where the similarity is -inf."""


def attend(
    queries: Float[Tensor, "channel h w"], sources: Sequence[Source], k: int, temperature: float
) -> Float[Tensor, "label h w"]:
    """Read labels through the joint top-k of all sources; never holds more than a tile of the affinity matrix.

    The products that choose the k keys have the precision of the features; all that follows has float32 or better.

    Args:
        queries: (channel, h, w) features of the target frame.
        sources: frames to read from, on the same grid; every query must see at least one key.
        k: number of keys kept of all keys of all sources together; fewer where fewer are seen.
        temperature: similarities are divided by it before the soft-max over the k kept.

    Returns:
        (label, h, w), for each cell the weighted mean of the labels of its k keys.
    """
    height, width = queries.shape[1:]
    groups: dict[tuple[Window | None, int], list[Source]] = {}
    for number, source in enumerate(sources):
        # Frames under one window are searched together; whole ones one by one, as joining them would copy them.
        apart = number if source.window is None else source.repeats
        groups.setdefault((source.window, apart), []).append(source)
    similarities, keys = [], []
    labels: list[Tensor] = []
    for (window, _), group in groups.items():
        repeats = group[0].repeats
        found = nearest(queries, [source.keys for source in group], k, window)
        # The top-k with repeated keys lies within the repeated top-k: the products are computed once.
        similarities += [found.similarity] * repeats
        keys += [found.key + len(labels) * height * width] * repeats
        labels += [_rows(source.labels) for source in group]
    similarity = torch.cat(similarities, dim=1)
    best, place = similarity.topk(min(k, similarity.shape[1]), dim=1)
    table = torch.cat(labels)
    weight = torch.softmax(best / temperature, dim=1).to(table)
    key = torch.cat(keys, dim=1).gather(1, place)
    return F.embedding_bag(key, table, per_sample_weights=weight, mode="sum").T.reshape(-1, height, width)


def nearest(
    queries: Float[Tensor, "channel h w"],
    keys: Sequence[Float[Tensor, "channel h w"]],
    k: int,
    window: Window | None,
) -> Nearest:
    """Find for each query cell the k most alike of the key cells that it sees in several frames.

    Args:
        queries: (channel, h, w) features of one frame.
        keys: for each frame that is searched (channel, h, w).
        k: number of keys kept, of all frames together; fewer where there are fewer.
        window: which keys a query sees; None for all.

    Returns:
        Keys are counted through the frames, h * w each.
    """
    targets, *frames = (grid.permute(1, 2, 0).contiguous() for grid in (queries, *keys))
    height, width = targets.shape[:2]
    exact = torch.promote_types(queries.dtype, torch.float32)
    similarity = targets.new_full((height, width, k), -torch.inf, dtype=exact)
    key = targets.new_zeros((height, width, k), dtype=torch.int64)
    side = WHOLE_TILE if window is None else TILE
    for tile in _tiles(height, width, side if queries.device.type == "cpu" else LARGE_TILE):
        view = _view(tile, window, height, width)
        visible = [frame[view] for frame in frames]
        seen = visible[0] if len(visible) == 1 else torch.cat(visible)
        scores = _products(targets[tile], seen)
        if window is not None:
            by_frame = scores.view(len(scores), len(frames), -1, scores.shape[2])
            by_frame += _veil(*_extents(tile, view), window, queries.device)
        best, row, column = _top(scores, k)
        if queries.dtype != exact:
            best = _sharpened(best, targets[tile].flatten(0, 1), seen[row, column])
        count = view[0].stop - view[0].start  # rows of a frame in the view
        place = (row // count * height + row % count + view[0].start) * width + column + view[1].start
        for table, found in ((similarity, best), (key, place)):
            part = table[tile][..., : found.shape[1]]
            part.copy_(found.view_as(part))
    return Nearest(similarity.flatten(0, 1), key.flatten(0, 1))


def reference(
    queries: Float[Tensor, "channel h w"], sources: Sequence[Source], k: int, temperature: float
) -> Float[Tensor, "label h w"]:
    """Say what `attend` computes, with the dense affinity matrix: for tests, too large for real grids.

    Args:
        queries: (channel, h, w) features of the target frame.
        sources: frames to read from, on the same grid.
        k: number of keys kept of all keys of all sources together.
        temperature: similarities are divided by it before the soft-max over the k kept.
    """
    height, width = queries.shape[1:]
    cells = torch.arange(height * width, device=queries.device)
    y, x = cells // width, cells % width
    affinities, labels = [], []
    for source in sources:
        affinity = _rows(queries) @ _rows(source.keys).T
        if source.window is not None:
            affinity[~source.window.inside(y - y[:, None], x - x[:, None])] = -torch.inf
        affinities += [affinity] * source.repeats
        labels += [_rows(source.labels)] * source.repeats
    affinity, label = torch.cat(affinities, dim=1), torch.cat(labels)
    similarity, key = affinity.topk(min(k, affinity.shape[1]), dim=1)
    weight = torch.softmax(similarity / temperature, dim=1)
    return torch.einsum("qk,qkl->lq", weight, label[key]).reshape(-1, height, width)


def _rows(grid: Float[Tensor, "channel h w"]) -> Float[Tensor, "cell channel"]:
    return grid.flatten(1).T


def _products(
    queries: Float[Tensor, "rows columns channel"], keys: Float[Tensor, "key_row key_column channel"]
) -> Float[Tensor, "query key_row key_column"]:
    """All inner products, taken in the precision of the features, handed over in float32 or better.

    float32 on the CPU goes through oneDNN, which uses all of a processor where torch's own product may not. `F.linear`
    would get there by way of oneDNN's own tensors, whose copies take as long as the product.
    """
    left, right = queries.flatten(0, 1), keys.flatten(0, 1)
    mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if mkldnn and left.device.type == "cpu" and left.dtype == torch.float32:
        products: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    else:
        products = (left @ right.T).to(torch.promote_types(left.dtype, torch.float32))
    return products.view(-1, *keys.shape[:2])


def _top(
    scores: Float[Tensor, "query key_row key_column"], k: int
) -> tuple[Float[Tensor, "query k"], Int[Tensor, "query k"], Int[Tensor, "query k"]]:
    """The k largest scores of each query, their rows and columns; exact: they lie in the k rows of largest maxima."""
    width = scores.shape[2]
    rows = scores.amax(dim=2).topk(min(k, scores.shape[1]), dim=1, sorted=False).indices
    candidates = scores.gather(1, rows[:, :, None].expand(-1, -1, width)).flatten(1)
    best, index = candidates.topk(min(k, candidates.shape[1]), dim=1)
    return best, rows.gather(1, index // width), index % width


def _sharpened(
    best: Float[Tensor, "query k"],
    queries: Float[Tensor, "query channel"],
    keys: Float[Tensor, "query k channel"],
) -> Float[Tensor, "query k"]:
    """The best similarities without the rounding of products to the precision of the features."""
    products = torch.einsum("qc,qkc->qk", queries.to(best), keys.to(best))
    return products.masked_fill(best.isneginf(), -torch.inf)


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    for top, left in pairs(range(0, height, side), range(0, width, side)):
        yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def _view(tile: tuple[slice, slice], window: Window | None, height: int, width: int) -> tuple[slice, slice]:
    """The part of the grid that holds every key that a query of the tile sees."""
    if window is None:
        return slice(0, height), slice(0, width)
    rows, columns = (
        slice(max(side.start - window.reach, 0), min(side.stop + window.reach, size))
        for side, size in zip(tile, (height, width), strict=True)
    )
    return rows, columns


def _extents(tile: tuple[slice, slice], view: tuple[slice, slice]) -> tuple[tuple[int, int, int], ...]:
    """Of either side: the tile's length, and where the view starts and stops, counted from the tile's start."""
    return tuple(
        (of.stop - of.start, seen.start - of.start, seen.stop - of.start)
        for of, seen in zip(tile, view, strict=True)
    )


@lru_cache(maxsize=64)  # 25 differ where a window reaches less than two tiles far, whatever the grid
def _veil(
    rows: tuple[int, int, int], columns: tuple[int, int, int], window: Window, device: torch.device
) -> Float[Tensor, "query 1 key_row key_column"]:
    """0 where the key is seen from the query, else -inf; rows and columns as `_extents` gives them."""
    dy, dx = (
        torch.arange(start, stop, device=device) - torch.arange(count, device=device)[:, None]
        for count, start, stop in (rows, columns)
    )
    # (query row, query column, key row, key column)
    seen = window.inside(dy[:, None, :, None], dx[None, :, None, :]).flatten(0, 1)
    return torch.zeros(seen.shape, device=device).masked_fill_(~seen, -torch.inf)[:, None]
