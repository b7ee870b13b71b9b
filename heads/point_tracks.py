"""Points that are tracked without training: each is looked for in every frame by the feature it had when it was given.

Three ways to find a point: the most alike cell, the soft arg-max around it, and a belief map that is propagated like a
mask. Two ways to notice that it is occluded: what is found is not alike, or does not lead back to where the point was
given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heads import mask
from heads.mask import MaskOptions, MaskState

CHUNK = 1024
"""Points whose similarities to all cells are held at a time."""


@dataclass(frozen=True)
class Nearest:
    """The most alike cell, moved by a parabola through it and its neighbours. Has no knobs."""


@dataclass(frozen=True)
class SoftArgmax:
    """The mean of the cells around the most alike one, weighted by a soft-max over their similarities."""

    radius: int | float = 5
    """Cells: those at a Euclidean distance < radius are averaged."""
    temperature: float = 0.05
    """Similarities are divided by it before the soft-max."""

    def __post_init__(self) -> None:
        _require_positive(self, "radius", "temperature")


@dataclass(frozen=True)
class Belief:
    """A Gaussian around the point is propagated like a mask; the cells around its peak are averaged, weighted by it.

    Points of different frames are propagated apart, so the cost grows with the number of frames that give some.
    """

    radius: int | float = 2
    """Cells: those at a Euclidean distance < radius are averaged."""
    sigma: int | float = 0.5
    """Cells: of the Gaussian."""
    propagation: MaskOptions = field(default_factory=MaskOptions)

    def __post_init__(self) -> None:
        _require_positive(self, "radius", "sigma")


Head = Nearest | SoftArgmax | Belief
HEADS: Mapping[str, type[Head]] = {"nearest": Nearest, "soft-argmax": SoftArgmax, "belief": Belief}
"""Name -> options of the head."""


@dataclass(frozen=True)
class Occlusion:
    """When a point counts as visible: where neither limit says that it is not."""

    min_similarity: int | float | None = None
    """Least cosine between the feature that is found and the one that was given; None: not looked at."""
    max_cycle: int | float | None = None
    """Cells, at most, between the given place and the place that the feature that is found leads back to; None: not
    looked at. The map of every frame in which points are given is kept."""


@dataclass(frozen=True, eq=False)
class Given:
    """Points that were given in one frame."""

    places: Float[Tensor, "point 2"]
    """x, y in cells (cell i is centred on i)."""
    keys: Float[Tensor, "channel h w"] | None
    """Of that frame, L2-normalised; None where nothing leads back to it."""
    beliefs: MaskState | None
    """Of the head `Belief`: where the points' maps stand."""


@dataclass(frozen=True, eq=False)
class PointState:
    """What is known after a frame; memory grows with the frames in which points were given, not with the others."""

    given: tuple[Given, ...] = ()
    features: Float[Tensor, "point channel"] = field(default_factory=lambda: torch.zeros(0, 0))
    """Of all points where they were given, L2-normalised; in the order of `given`."""
    places: Float[Tensor, "point 2"] = field(default_factory=lambda: torch.zeros(0, 2))
    """Of all points in the frame last seen: x, y in cells."""
    visible: Bool[Tensor, " point"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))


@torch.no_grad()
def step(
    state: PointState,
    features: Float[Tensor, "channel h w"],
    new: Float[Tensor, "new 2"],
    head: Head,
    occlusion: Occlusion,
) -> PointState:
    """Find the points in the next frame, and take in those that are given there.

    Args:
        state: After the frame before; `PointState()` before the first.
        features: (channel, h, w), any scale.
        new: x, y in cells of the points that are given in this frame, which are there and visible.
        head: How a point is found.
        occlusion: When it is visible.

    Returns:
        The state, with the new points behind the others.

    Raises:
        ValueError: Features are not finite, or have other channels than before.

    Reference:
        Doersch et al., TAP-Vid, NeurIPS 2022, section 5 (soft arg-max within 5 cells); Tumanyan et al., DINO-Tracker,
        ECCV 2024, sections 3 and 4 (matching of raw features, occlusion by similarity and by the way back); Jabri et
        al., Space-time correspondence as a contrastive random walk, NeurIPS 2020 (belief maps).
    """
    keys = _unit(features)
    _check(keys, state)
    places, given, visible, known = state.places, state.given, state.visible, state.features
    if given:
        places, given = _found(state, features, keys, head)
        visible = _is_visible(replace(state, places=places), keys, head, occlusion)
    if len(new):
        given = (*given, _give(features, keys, new, head, occlusion))
        own, there = sample(keys, new), torch.ones(len(new), dtype=torch.bool, device=new.device)
        if len(known):
            places, visible, known = (
                torch.cat(pair) for pair in ((places, new), (visible, there), (known, own))
            )
        else:
            places, visible, known = new, there, own
    return PointState(given, known, places, visible)


def sample(
    keys: Float[Tensor, "channel h w"], places: Float[Tensor, "point 2"]
) -> Float[Tensor, "point channel"]:
    """Read features between cells, bilinearly, and L2-normalise them; a place off the map reads its border.

    Args:
        keys: (channel, h, w).
        places: x, y in cells.
    """
    _, h, w = keys.shape
    table = keys.permute(1, 2, 0).flatten(0, 1)
    last = torch.tensor([w - 1, h - 1], device=places.device)
    at = torch.minimum(places.clamp(min=0), last)
    low = torch.minimum(at.floor(), last)
    high, part = torch.minimum(low + 1, last), at - low
    cells, shares = [], []
    for x, share_x in ((low[:, 0], 1 - part[:, 0]), (high[:, 0], part[:, 0])):
        for y, share_y in ((low[:, 1], 1 - part[:, 1]), (high[:, 1], part[:, 1])):
            cells.append((y * w + x).long())
            shares.append(share_x * share_y)
    weights = torch.stack(shares, dim=1).to(table)
    read = F.embedding_bag(torch.stack(cells, dim=1), table, per_sample_weights=weights, mode="sum")
    return F.normalize(read, dim=1)


def match(
    features: Float[Tensor, "point channel"], keys: Float[Tensor, "channel h w"], head: Head
) -> Float[Tensor, "point 2"]:
    """Find features on a map, all of which is searched; `Belief` leads back as `Nearest` does.

    Args:
        features: Of the points, L2-normalised.
        keys: (channel, h, w), L2-normalised.
        head: Says how a point is placed between cells.

    Returns:
        x, y in cells.
    """
    h, w = keys.shape[1:]
    table = keys.flatten(1)
    places = []
    for part in torch.split(features, CHUNK):
        similarity = (part @ table).reshape(-1, h, w)
        places.append(soft_argmax(similarity, head) if isinstance(head, SoftArgmax) else nearest(similarity))
    return torch.cat(places) if places else features.new_zeros(0, 2)


def nearest(similarity: Float[Tensor, "point h w"]) -> Float[Tensor, "point 2"]:
    """The best cell of each map, moved by up to half a cell to the top of a parabola through it and its neighbours.

    Args:
        similarity: (point, h, w).

    Returns:
        x, y in cells; a cell at the border is not moved across it.
    """
    peak = _peak(similarity)
    h, w = similarity.shape[1:]
    flat, cell = similarity.flatten(1), peak[:, 1] * w + peak[:, 0]
    moved = []
    for at, limit, jump in ((peak[:, 0], w, 1), (peak[:, 1], h, w)):
        inside = (at > 0) & (at < limit - 1)
        low, here, high = (
            flat.gather(1, (cell + step * jump * inside)[:, None])[:, 0] for step in (-1, 0, 1)
        )
        bend = low - 2 * here + high
        shift = 0.5 * (low - high) / bend.where(bend < 0, -torch.ones_like(bend))
        moved.append(at + shift.where(bend < 0, torch.zeros_like(bend)).clamp(-0.5, 0.5))
    return torch.stack(moved, dim=1)


def soft_argmax(similarity: Float[Tensor, "point h w"], head: SoftArgmax) -> Float[Tensor, "point 2"]:
    """The mean of the cells around the best one of each map, weighted by a soft-max over their similarities.

    Args:
        similarity: (point, h, w).
        head: Radius and temperature.

    Returns:
        x, y in cells.
    """
    peak = _peak(similarity)
    values, offsets = _around(similarity, peak, head.radius, -torch.inf)
    return peak + torch.softmax(values / head.temperature, dim=1) @ offsets


def centre(beliefs: Float[Tensor, "point h w"], radius: int | float) -> Float[Tensor, "point 2"]:
    """The mean of the cells around the peak of each map, weighted by the map; the peak where all are 0.

    Args:
        beliefs: (point, h, w), not negative.
        radius: Cells.

    Returns:
        x, y in cells.
    """
    peak = _peak(beliefs)
    values, offsets = _around(beliefs, peak, radius, 0.0)
    total = values.sum(dim=1, keepdim=True)
    return peak + values @ offsets / total.where(total > 0, torch.ones_like(total))


def draw(
    places: Float[Tensor, "point 2"], h: int, w: int, *, sigma: int | float
) -> Float[Tensor, "point {h} {w}"]:
    """Draw each point as a Gaussian of peak 1 around its own place, between cells too; 0 from 3 sigma + 1 on.

    Args:
        places: x, y in cells.
        h: Rows of the map.
        w: Columns.
        sigma: Cells.
    """
    dx, dy = (
        torch.arange(size, device=places.device) - places[:, axis, None] for axis, size in ((0, w), (1, h))
    )
    squared = dy[:, :, None] ** 2 + dx[:, None, :] ** 2
    return torch.exp(-squared / (2 * sigma**2)) * (squared < (3 * sigma + 1) ** 2)


def _found(
    state: PointState,
    features: Float[Tensor, "channel h w"],
    keys: Float[Tensor, "channel h w"],
    head: Head,
) -> tuple[Float[Tensor, "point 2"], tuple[Given, ...]]:
    """Where the points are in the next frame, and how their belief maps stand there."""
    if not isinstance(head, Belief):
        return match(state.features, keys, head), state.given
    places, given = [], []
    for one in state.given:
        assert one.beliefs is not None
        beliefs = mask.step(one.beliefs, features, head.propagation)
        places.append(centre(beliefs.labels, head.radius))
        given.append(replace(one, beliefs=beliefs))
    return torch.cat(places), tuple(given)


def _is_visible(
    state: PointState, keys: Float[Tensor, "channel h w"], head: Head, occlusion: Occlusion
) -> Bool[Tensor, " point"]:
    """Whether what was found is alike, and leads back to where the points were given."""
    visible = torch.ones(len(state.places), dtype=torch.bool, device=state.places.device)
    if occlusion.min_similarity is None and occlusion.max_cycle is None:
        return visible
    found = sample(keys, state.places)
    if occlusion.min_similarity is not None:
        visible &= (found * state.features).sum(dim=1) >= occlusion.min_similarity
    if occlusion.max_cycle is not None:
        counts = [len(one.places) for one in state.given]
        errors = []
        for one, own in zip(state.given, torch.split(found, counts), strict=True):
            assert one.keys is not None
            errors.append((match(own, one.keys, head) - one.places).norm(dim=1))
        visible &= torch.cat(errors) <= occlusion.max_cycle
    return visible


def _give(
    features: Float[Tensor, "channel h w"],
    keys: Float[Tensor, "channel h w"],
    new: Float[Tensor, "new 2"],
    head: Head,
    occlusion: Occlusion,
) -> Given:
    beliefs = None
    if isinstance(head, Belief):
        maps = draw(new, *features.shape[1:], sigma=head.sigma)
        beliefs = mask.begin(features, maps, head.propagation)
    return Given(new, keys if occlusion.max_cycle is not None else None, beliefs)


def _peak(maps: Float[Tensor, "point h w"]) -> Int[Tensor, "point 2"]:
    """Column and row of the best cell of each map."""
    best = maps.flatten(1).max(dim=1).indices
    return torch.stack([best % maps.shape[2], best // maps.shape[2]], dim=1)


def _around(
    maps: Float[Tensor, "point h w"], peak: Int[Tensor, "point 2"], radius: int | float, outside: float
) -> tuple[Float[Tensor, "point cell"], Float[Tensor, "cell 2"]]:
    """The values around a cell of each map, and the offsets x, y of their cells from it."""
    steps = torch.arange(-int(radius), int(radius) + 1, device=maps.device)
    offsets = torch.cartesian_prod(steps, steps)
    offsets = offsets[(offsets**2).sum(dim=1) < radius**2]
    x, y = (peak[:, axis, None] + offsets[:, axis] for axis in (0, 1))
    h, w = maps.shape[1:]
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    cells = y.clamp(0, h - 1) * w + x.clamp(0, w - 1)
    return maps.flatten(1).gather(1, cells).masked_fill(~inside, outside), offsets.to(maps)


def _unit(features: Float[Tensor, "channel h w"]) -> Float[Tensor, "channel h w"]:
    exact = features.to(torch.promote_types(features.dtype, torch.float32))
    return F.normalize(exact, dim=0)


def _check(keys: Float[Tensor, "channel h w"], state: PointState) -> None:
    if not torch.isfinite(keys).all():
        raise ValueError("point tracks: features are not finite; check the network")
    if len(state.features) and state.features.shape[1] != len(keys):
        channels = f"{len(keys)} channels, expected {state.features.shape[1]} as before"
        raise ValueError(f"point tracks: a frame has {channels}; read all frames from the same layer")


def _require_positive(options: Head, *names: str) -> None:
    for name in names:
        if not getattr(options, name) > 0:
            raise ValueError(f"point tracks: {name} {getattr(options, name)}, expected more than 0")
