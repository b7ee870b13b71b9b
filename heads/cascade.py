"""What the association cascade is told and what it remembers: options and frozen records. `heads.associate` runs it."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor

from heads import kalman

Limit = Annotated[float, Meta(ge=0, le=1000)]
"""A cost."""


@dataclass(frozen=True)
class CascadeOptions:
    """Every number of the cascade. A limit is the highest cost at which two objects may still be one."""

    appearance_limit: Limit = 0.7
    """First stage: of 1 - similarity, motion mixed in. Also where `use_iou` is off, of unconfirmed tracks."""
    iou_limit: Limit = 0.5
    """Second stage: of 1 - IoU, tracks that were seen in the last frame only."""
    confirm_limit: Limit = 0.7
    """Third stage: of 1 - IoU, tracks that were seen once only."""
    duplicate_limit: Limit = 0.15
    """Of a tracked and a lost track with 1 - IoU below it, the one that lived shorter is removed."""
    motion_weight: Annotated[float, Meta(ge=0, le=1)] = 0.98
    """Lambda: first-stage cost = lambda * (1 - similarity) + (1 - lambda) * Mahalanobis^2. 1: appearance only."""
    gate: bool = True
    """Whether a pair with Mahalanobis^2 above `gate_threshold` can match in the first stage."""
    gate_threshold: Annotated[float, Meta(ge=0, le=1e6)] = 9.4877
    """The 95 % quantile of the chi-square distribution with 4 degrees of freedom."""
    use_kalman: bool = True
    """Whether boxes are filtered and predicted. If not, a track's box is the one it was last seen in."""
    use_iou: bool = True
    """Whether boxes are compared at all: second stage, third stage, duplicates. If not, there is no second stage,
    the third compares appearance, and duplicates stay."""
    confirm_at_birth: bool = False
    """Whether a track counts from its first observation, or from its second if that is in the very next frame.
    The tracks of frame 0 always count."""
    birth_score: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """An observation starts a track if its score is at least this."""
    buffer: Annotated[float, Meta(ge=0, le=1e6)] = 30.0
    """How long a track may be lost, in frames of a clip with 30 frames per second."""
    memory: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """How many of its last observations a track is compared with, as one set of points."""

    def __post_init__(self) -> None:
        if not 0 <= self.motion_weight <= 1:
            raise ValueError(
                f"cascade: motion_weight is {self.motion_weight}, expected 0 to 1; 1 turns it off"
            )
        if self.memory < 1:
            raise ValueError(
                f"cascade: memory is {self.memory}, expected 1 or more; 1 keeps the last observation"
            )
        if not self.use_kalman and (self.gate or self.motion_weight < 1):
            raise ValueError(
                "cascade: motion_weight and gate without use_kalman; set motion_weight=1 and gate=False, or filter"
            )


@dataclass(frozen=True, eq=False)
class Observation:
    """One object of one frame, without identity."""

    points: Float[Tensor, "point channel"]
    """What it looks like."""
    box: Float[np.ndarray, " 4"]
    """xyxy, in any unit that is the same for the whole clip."""
    score: float = 1.0
    label: int = 0
    """Its class; objects of different classes are never one."""


@dataclass(frozen=True, eq=False)
class Track:
    """One identity over time."""

    id: int
    label: int
    born: int
    """Frame of the first observation."""
    seen: int
    """Frame of the last observation."""
    box: Float[np.ndarray, " 4"]
    """xyxy: filtered and predicted up to the current frame, or without a filter that of the last observation."""
    points: tuple[Float[Tensor, "_point channel"], ...]
    """Of the last observations, the newest last."""
    motion: kalman.State | None
    """The filter's state; None without a filter."""


@dataclass(frozen=True, eq=False)
class CascadeState:
    """All that the cascade remembers between two frames. The default is what it knows before the first."""

    tracked: tuple[Track, ...] = ()
    """Confirmed and seen in the last frame."""
    unconfirmed: tuple[Track, ...] = ()
    """Born in the last frame."""
    lost: tuple[Track, ...] = ()
    """Confirmed, but not seen in the last frame."""
    frames: int = 0
    """Number of frames so far."""
    next_id: int = 1
