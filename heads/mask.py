"""Label propagation: soft labels of frame 0 are carried through a clip by feature affinity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heads.affinity import Source, Window, attend


@dataclass(frozen=True)
class MaskOptions:
    """What the propagation of labels depends on. The default is UniTrack's."""

    temperature: float = 0.05
    """Cosine similarities are divided by it before the soft-max."""
    topk: int = 10
    """Number of source cells that a cell reads from, over all source frames together."""
    radius: int | float | None = 12
    """Cells: how far from its own position a cell reads in previous frames; None for no limit."""
    window: str = "circle"
    """`circle`: Euclidean distance < radius (UniTrack); `disc`: <= radius (DINOv3); `square`: |dx| and
    |dy| <= radius (DINO)."""
    context: int = 5
    """Number of previous frames to read from."""
    keep_first: bool = True
    """Frame 0 is read from throughout."""
    pad_start: bool = True
    """Where fewer than `context` frames have passed, frame 0 takes the missing places under the radius (UniTrack);
    otherwise they stay empty, and a frame 0 that is kept is not a previous frame as well (DINO)."""
    window_first: bool = False
    """The kept frame 0 is under the radius as well (DINO)."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"mask options: temperature {self.temperature}, expected more than 0")
        if self.topk < 1:
            raise ValueError(f"mask options: topk {self.topk}, expected 1 or more")
        if self.context < (0 if self.keep_first else 1):
            raise ValueError(
                f"mask options: context {self.context} with keep_first={self.keep_first}, "
                "expected something to read from; keep the first frame or 1 or more previous frames"
            )
        self.limit()

    def limit(self) -> Window | None:
        """The radius and its shape as a window; None for no limit."""
        return None if self.radius is None else Window(self.radius, self.window)


@dataclass(frozen=True, eq=False)
class Past:
    """What is remembered of one frame."""

    features: Float[Tensor, "channel h w"]
    """L2-normalised over channels."""
    labels: Float[Tensor, "label h w"]


@dataclass(frozen=True, eq=False)
class MaskState:
    """Where a clip stands after one of its frames; beside the frames that are kept, at most `context` + 1 are held."""

    now: Past
    """The frame last seen."""
    kept: tuple[Past, ...]
    """Frames to read from throughout: frame 0, and those in which more labels were given."""
    recent: tuple[Past, ...]
    """Previous frames to read from, oldest first."""
    time: int
    """Index of the frame last seen."""

    @property
    def labels(self) -> Float[Tensor, "label h w"]:
        """Of the frame last seen."""
        return self.now.labels


def propagate(
    features: Iterable[Float[Tensor, "channel h w"]],
    labels: Float[Tensor, "label h w"],
    options: MaskOptions = MaskOptions(),
) -> Iterator[Float[Tensor, "label h w"]]:
    """Carry the labels of frame 0 through a clip; soft labels are fed back, never made binary.

    Streaming: frame t is pulled after the labels of t - 1 were yielded; memory does not grow with the clip.

    Args:
        features: for each frame (channel, h, w), any scale: they are L2-normalised over channels here.
        labels: (label, h, w) of frame 0 on the same grid, any real values (a partition of one, belief maps, ...).
        options: see `MaskOptions`.

    Yields:
        (label, h, w) for frame 0 (the labels given), 1, 2, ...

    Raises:
        ValueError: features or labels are not finite, or their shapes do not fit together.

    Reference:
        Wang et al., UniTrack, NeurIPS 2021, section 3.1; Jabri et al., Space-time correspondence as a contrastive
        random walk, NeurIPS 2020, section 4.
    """
    state = None
    for frame in features:
        state = begin(frame, labels, options) if state is None else step(state, frame, options)
        yield state.labels


def begin(
    features: Float[Tensor, "channel h w"], labels: Float[Tensor, "label rows columns"], options: MaskOptions
) -> MaskState:
    """Start a clip at frame 0; arguments and errors as in `propagate`."""
    _check(features, labels, "frame 0")
    if not torch.isfinite(labels).all():
        raise ValueError("mask propagation: the labels of frame 0 are not finite")
    now = Past(_unit(features), labels)
    return MaskState(now, *_given((), (), now, options), 0)


@torch.no_grad()
def step(state: MaskState, features: Float[Tensor, "channel h w"], options: MaskOptions) -> MaskState:
    """Carry the labels one frame further; arguments and errors as in `propagate`."""
    time = state.time + 1
    _check(features, state.labels, f"frame {time}")
    if len(features) != len(state.now.features):
        channels = f"{len(features)} channels, expected {len(state.now.features)} as in frame 0"
        raise ValueError(
            f"mask propagation: frame {time} has {channels}; read all frames from the same layer"
        )
    unit = _unit(features)
    labels = attend(unit, _sources(state, options), options.topk, options.temperature)
    now = Past(unit, labels)
    return MaskState(now, state.kept, _latest((*state.recent, now), options), time)


def give(state: MaskState, labels: Float[Tensor, "new h w"], options: MaskOptions) -> MaskState:
    """Take in labels that are first given in the frame last seen.

    There they cover what was propagated, in earlier frames they are 0, and the frame is read from as frame 0 is.

    Args:
        state: Where the clip stands.
        labels: (new, h, w), the share of each cell, 0 to 1; together at most 1.
        options: As for `step`.

    Returns:
        The state with the new labels behind the others; a partition of one stays one.
    """
    here = torch.cat([state.labels * (1 - labels.sum(dim=0)), labels])
    now = Past(state.now.features, here)
    recent = tuple(_widened(past, len(labels)) for past in state.recent if past is not state.now)
    kept = tuple(_widened(past, len(labels)) for past in state.kept)
    return MaskState(now, *_given(kept, recent, now, options), state.time)


def _widened(past: Past, labels: int) -> Past:
    return Past(past.features, F.pad(past.labels, (0, 0, 0, 0, 0, labels)))


def _given(
    kept: tuple[Past, ...], recent: tuple[Past, ...], now: Past, options: MaskOptions
) -> tuple[tuple[Past, ...], tuple[Past, ...]]:
    """What is kept, and what is recent, with a frame in which labels were given."""
    if options.pad_start or not options.keep_first:
        recent = _latest((*recent, now), options)
    return (*kept, now) if options.keep_first else kept, recent


def _latest(recent: tuple[Past, ...], options: MaskOptions) -> tuple[Past, ...]:
    return recent[max(0, len(recent) - options.context) :]


def _unit(features: Float[Tensor, "channel h w"]) -> Float[Tensor, "channel h w"]:
    """L2-normalised, in their own precision; channels last in memory, as they are read cell by cell in later frames."""
    cells = features.permute(1, 2, 0).contiguous()
    exact = cells.to(torch.promote_types(cells.dtype, torch.float32))
    return F.normalize(exact, dim=2).to(features.dtype).permute(2, 0, 1)


def _sources(state: MaskState, options: MaskOptions) -> list[Source]:
    limit = options.limit()
    sources = [Source(past.features, past.labels, limit) for past in state.recent]
    missing = options.context - len(state.recent)
    if options.pad_start and missing:  # fewer frames have passed: the oldest is frame 0
        sources[0] = replace(sources[0], repeats=1 + missing)
    window = limit if options.window_first else None
    return sources + [Source(past.features, past.labels, window) for past in state.kept]


def _check(features: Tensor, labels: Tensor, frame: str) -> None:
    if features.shape[1:] != labels.shape[1:]:
        grids = f"{tuple(features.shape[1:])}, expected that of the labels {tuple(labels.shape[1:])}"
        raise ValueError(f"mask propagation: {frame} has the grid {grids}; resize the labels to the features")
    cells = features.permute(1, 2, 0).contiguous()  # no copy where channels are last in memory
    if not all(torch.isfinite(bound) for bound in cells.aminmax()):
        raise ValueError(f"mask propagation: the features of {frame} are not finite; check the network")
