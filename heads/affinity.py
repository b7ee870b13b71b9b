"""Top-k soft-max affinity between feature grids: windowed and global search, exact, and a dense reference.

A query cell reads the labels of its k most alike key cells, drawn jointly from several source frames, and weights
them by a soft-max over these k similarities. Similarities are inner products; of unit vectors, cosines.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import faiss
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

TILE = 16
"""Side in cells of the square of queries that share one product: larger wastes products, smaller wastes calls."""
BLOCK = 128
"""Queries that share one product where there is no window."""

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
    """The k best keys of every query, best first; where fewer are seen, places of similarity -inf follow."""

    similarity: Float[Tensor, "query k"]
    key: Int[Tensor, "query k"]
    """Index of the key cell, row by row, frame by frame; of no meaning where the similarity is -inf."""


def attend(
    queries: Float[Tensor, "channel h w"], sources: Sequence[Source], k: int, temperature: float
) -> Float[Tensor, "label h w"]:
    """Read labels through the joint top-k of all sources; never holds more than a tile of the affinity matrix.

    Args:
        queries: (channel, h, w) features of the target frame.
        sources: frames to read from, on the same grid; every query must see at least one key.
        k: number of keys kept of all keys of all sources together; fewer where fewer are seen.
        temperature: similarities are divided by it before the soft-max over the k kept.

    Returns:
        (label, h, w), for each cell the weighted mean of the labels of its k keys.
    """
    groups: dict[tuple[Window | None, int], list[Source]] = {}
    for source in sources:
        groups.setdefault((source.window, source.repeats), []).append(source)
    similarities, keys = [], []
    labels: list[Tensor] = []
    for (window, repeats), group in groups.items():
        found = nearest(queries, [source.keys for source in group], k, window)
        # The top-k with repeated keys lies within the repeated top-k: the products are computed once.
        similarities.append(found.similarity.repeat(1, repeats))
        keys.append(found.key.repeat(1, repeats) + len(labels) * queries.shape[1] * queries.shape[2])
        labels += [source.labels.flatten(1) for source in group]
    joint = _top(torch.cat(similarities, dim=1), k)
    key = torch.cat(keys, dim=1).gather(1, joint.key)
    weight = torch.softmax(joint.similarity / temperature, dim=1)
    table = torch.cat(labels, dim=1).T.contiguous()
    read = F.embedding_bag(key, table, per_sample_weights=weight.to(table), mode="sum")
    return read.T.reshape(-1, *queries.shape[1:])


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
        k: number of keys kept, of all frames together.
        window: which keys a query sees; None for all.

    Returns:
        Keys are counted through the frames, h * w each.
    """
    if window is None:
        return global_topk(_rows(queries), [_rows(frame) for frame in keys], k)
    return windowed_topk(queries, keys, k, window)


def global_topk(
    queries: Float[Tensor, "query channel"], keys: Sequence[Float[Tensor, "_ channel"]], k: int
) -> Nearest:
    """Find for each query the k keys of largest inner product; exact.

    float32 on the CPU goes through faiss's flat index (1.4 times as fast as blocked torch products with top-k);
    other devices and precisions through blocks of torch products.

    Args:
        queries: (query, channel) vectors.
        keys: (key, channel) vectors in one or more parts.
        k: number of keys kept, of all parts together.

    Reference:
        Douze et al., The Faiss library, arXiv:2401.08281.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.float32:
        whole = torch.cat(list(keys)).T
        blocks = [_top(block @ whole, k) for block in torch.split(queries, BLOCK)]
        return Nearest(*map(torch.cat, zip(*blocks, strict=True)))
    index = faiss.IndexFlatIP(queries.shape[1])
    for part in keys:
        index.add(part.contiguous().numpy())
    similarity, key = index.search(queries.contiguous().numpy(), min(k, index.ntotal))
    return _padded(Nearest(torch.from_numpy(similarity), torch.from_numpy(key)), k)


def windowed_topk(
    queries: Float[Tensor, "channel h w"],
    keys: Sequence[Float[Tensor, "channel h w"]],
    k: int,
    window: Window,
) -> Nearest:
    """Find for each query cell the k most alike key cells inside its window; exact, tile by tile.

    Args:
        queries: (channel, h, w) features of one frame.
        keys: for each frame that is searched (channel, h, w).
        k: number of keys kept, of all frames together.
        window: which keys a query sees.
    """
    height, width = queries.shape[1:]
    query_rows, *key_rows = (grid.permute(1, 2, 0).contiguous() for grid in (queries, *keys))
    similarity = queries.new_empty(height, width, k)
    key = torch.empty(height, width, k, dtype=torch.int64, device=queries.device)
    places = torch.arange(len(keys) * height * width, device=queries.device).view(-1, height, width)
    for tile, view in _tiles(height, width, int(window.radius)):
        seen = _seen(tile, view, window, queries.device)
        visible = torch.stack([frame[view] for frame in key_rows]).flatten(0, 2)
        scores = (query_rows[tile].flatten(0, 1) @ visible.T).view(len(seen), len(keys), -1)
        best = _top(scores.masked_fill_(~seen[:, None], -torch.inf).flatten(1), k)
        similarity[tile] = best.similarity.view(similarity[tile].shape)
        key[tile] = places[:, *view].flatten()[best.key].view(key[tile].shape)
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
    whole = (slice(0, height), slice(0, width))
    affinities, labels = [], []
    for source in sources:
        affinity = _rows(queries) @ _rows(source.keys).T
        if source.window is not None:
            affinity[~_seen(whole, whole, source.window, queries.device)] = -torch.inf
        affinities += [affinity] * source.repeats
        labels += [_rows(source.labels)] * source.repeats
    affinity, label = torch.cat(affinities, dim=1), torch.cat(labels)
    similarity, key = affinity.topk(min(k, affinity.shape[1]), dim=1)
    weight = torch.softmax(similarity / temperature, dim=1)
    return torch.einsum("qk,qkl->lq", weight, label[key]).reshape(-1, height, width)


def _rows(grid: Float[Tensor, "channel h w"]) -> Float[Tensor, "cell channel"]:
    return grid.flatten(1).T


def _top(scores: Float[Tensor, "query key"], k: int) -> Nearest:
    return _padded(Nearest(*scores.topk(min(k, scores.shape[1]), dim=1)), k)


def _padded(found: Nearest, k: int) -> Nearest:
    missing = k - found.key.shape[1]
    if not missing:
        return found
    return Nearest(F.pad(found.similarity, (0, missing), value=-torch.inf), F.pad(found.key, (0, missing)))


def _tiles(height: int, width: int, reach: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Tiles of queries, each with the part of the grid that holds every key within `reach` of it."""
    for top, left in product(range(0, height, TILE), range(0, width, TILE)):
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        view = (
            slice(max(top - reach, 0), min(bottom + reach, height)),
            slice(max(left - reach, 0), min(right + reach, width)),
        )
        yield (slice(top, bottom), slice(left, right)), view


def _seen(
    tile: tuple[slice, slice], view: tuple[slice, slice], window: Window, device: torch.device
) -> Bool[Tensor, "query key"]:
    dy, dx = (
        torch.arange(seen.start, seen.stop, device=device)
        - torch.arange(of.start, of.stop, device=device)[:, None]
        for of, seen in zip(tile, view, strict=True)
    )
    # (query row, query column, key row, key column)
    return window.inside(dy[:, None, :, None], dx[None, :, None, :]).flatten(2).flatten(0, 1)
