"""The JDE cascade: gives the objects of a frame the identities of earlier ones, by appearance, motion and overlap.

Pure functions on frozen records: `step` takes the state after the last frame and the observations of this one, and
returns the new state and the id of every observation. How alike two objects look is asked of a callable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, as_tensor, cat
from torchvision.ops import box_iou

from heads import kalman

MOTION_MODES = ("full", "unitrack-study", "appearance-only")

Similarity = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""Points (point, channel) of each track, points of each detection -> (track, detection), at most 1."""


@dataclass(frozen=True)
class CascadeOptions:
    """Every number of the cascade. A limit is the highest cost at which two objects may still be one."""

    appearance_limit: float = 0.7
    """First stage: of 1 - similarity, motion mixed in. Also where `use_iou` is off, of unconfirmed tracks."""
    iou_limit: float = 0.5
    """Second stage: of 1 - IoU, tracks that were seen in the last frame only."""
    confirm_limit: float = 0.7
    """Third stage: of 1 - IoU, tracks that were seen once only."""
    duplicate_limit: float = 0.15
    """Of a tracked and a lost track with 1 - IoU below it, the one that lived shorter is removed."""
    motion_weight: float = 0.98
    """Lambda: first-stage cost = lambda * (1 - similarity) + (1 - lambda) * Mahalanobis^2. 1: appearance only."""
    gate: bool = True
    """Whether a pair with Mahalanobis^2 above `gate_threshold` can match in the first stage."""
    gate_threshold: float = 9.4877
    """The 95 % quantile of the chi-square distribution with 4 degrees of freedom."""
    use_kalman: bool = True
    """Whether boxes are filtered and predicted. If not, a track's box is the one it was last seen in."""
    use_iou: bool = True
    """Whether boxes are compared at all: second stage, third stage, duplicates. If not, there is no second stage,
    the third compares appearance, and duplicates stay."""
    confirm_at_birth: bool = False
    """Whether a track counts from its first observation, or from its second if that is in the very next frame.
    The tracks of frame 0 always count."""
    birth_score: float = 0.5
    """An observation starts a track if its score is at least this."""
    buffer: float = 30.0
    """How long a track may be lost, in frames of a clip with 30 frames per second."""
    memory: int = 1
    """How many of its last observations a track is compared with, as one set of points."""

    def __post_init__(self) -> None:
        if not 0 <= self.motion_weight <= 1:
            raise ValueError(f"cascade: motion_weight is {self.motion_weight}, expected 0 to 1; 1 turns it off")
        if self.memory < 1:
            raise ValueError(f"cascade: memory is {self.memory}, expected 1 or more; 1 keeps the last observation")
        if not self.use_kalman and (self.gate or self.motion_weight < 1):
            raise ValueError(
                "cascade: motion_weight and gate without use_kalman; set motion_weight=1 and gate=False, or filter"
            )


def with_motion(options: CascadeOptions, mode: str) -> CascadeOptions:
    """Switch motion on or off.

    Args:
        options: Of `full` motion.
        mode: `full`: as they are. `unitrack-study`: lambda 1 and no gate, while the filter and the stages by IoU
            stay on: what the paper's study of representations calls 'motion cues discarded'. `appearance-only`:
            no box is ever looked at.

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in MOTION_MODES:
        raise ValueError(f"cascade: no motion mode {mode!r}; there are: {', '.join(MOTION_MODES)}")
    if mode == "full":
        return options
    on = mode == "unitrack-study" and options.use_kalman
    return replace(
        options, motion_weight=1.0, gate=False, use_kalman=on, use_iou=options.use_iou and mode != "appearance-only"
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
    """Seen for the first time in the last frame."""
    lost: tuple[Track, ...] = ()
    """Confirmed, but not seen in the last frame."""
    frames: int = 0
    """Number of frames so far."""
    next_id: int = 1


_Claims = Mapping[int, Track]
"""Index of an observation -> the track that it belongs to."""
_Cost = Callable[[Sequence[Track], Sequence[Observation]], Float[np.ndarray, "track detection"]]


def step(
    state: CascadeState,
    observations: Sequence[Observation],
    similarity: Similarity,
    options: CascadeOptions,
    fps: float,
) -> tuple[CascadeState, Int[np.ndarray, " detection"]]:
    """Identify the observations of the next frame; without any, the tracks still age.

    Args:
        state: After the last frame; `CascadeState()` before frame 0.
        observations: Of this frame.
        similarity: How alike objects look; asked with all tracks and all observations of a stage at once.
        options: The same in every frame of a clip.
        fps: Frames per second of the clip; scales the time for which lost tracks are kept.

    Returns:
        The state after this frame, and (detection) the id of the confirmed track that each observation belongs
        to, 0 where there is none (yet): the score is too low for a birth, the track is not confirmed, or it was
        removed as a duplicate.

    Reference:
        Wang et al., "Towards Real-Time Multi-Object Tracking", ECCV 2020, section 3.5; "Do Different Tracking
        Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.3.
    """
    now = state.frames
    tracked, lost = _predicted(state.tracked, options, False), _predicted(state.lost, options, True)

    def appearance(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _appearance_cost(tracks, candidates, similarity)

    def moving(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _mix_motion(appearance(tracks, candidates), tracks, candidates, options)

    old, left = _stage({}, (*tracked, *lost), observations, moving, options.appearance_limit)
    missed = tuple(track for track in left if track.seen == now - 1)
    if options.use_iou:
        old, missed = _stage(old, missed, observations, _overlap_cost, options.iou_limit)
        cost, limit = _overlap_cost, options.confirm_limit
    else:
        cost, limit = appearance, options.appearance_limit
    old, _ = _stage(old, state.unconfirmed, observations, cost, limit)
    seen = {index: _extended(track, observations[index], now, options) for index, track in old.items()}
    new = _births(observations, seen, state.next_id, now, options)
    sure = options.confirm_at_birth or now == 0
    missing = missed + tuple(track for track in left if track.seen < now - 1)
    keep = int(fps / 30 * options.buffer)
    after = CascadeState(
        tracked=_by_id(seen | new if sure else seen),
        unconfirmed=() if sure else _by_id(new),
        lost=tuple(track for track in missing if now - track.seen <= keep),
        frames=now + 1,
        next_id=state.next_id + len(new),
    )
    after = _without_duplicates(after, options)
    alive = {track.id for track in after.tracked}
    owners = seen | new
    ids = [owners[index].id if index in owners else 0 for index in range(len(observations))]
    return after, np.array([id if id in alive else 0 for id in ids], dtype=np.int64)


def assign(cost: Float[np.ndarray, "row column"], limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of costs is least, where leaving a pair apart costs `limit`.

    This is what LAPJV solves with `extend_cost` and `cost_limit`: each row or column that stays alone costs
    limit / 2, hence a pair changes the sum by cost - limit. A pair with more than the limit never helps, so its gain
    is clipped to 0 ('apart') and the rest is an ordinary assignment problem.

    Args:
        cost: (row, column), any unit; infinite where a pair is forbidden.
        limit: Pairs that cost this or more stay apart.

    Returns:
        (row, column) of each pair, sorted by row.
    """
    gain = np.minimum(cost - limit, 0.0)
    return [(int(row), int(column)) for row, column in zip(*linear_sum_assignment(gain), strict=True) if gain[row, column] < 0]


def _stage(
    claims: _Claims, tracks: Sequence[Track], observations: Sequence[Observation], cost: _Cost, limit: float
) -> tuple[dict[int, Track], tuple[Track, ...]]:
    """Match tracks with the observations that are still free: all claims so far, and the tracks left over."""
    free = [index for index in range(len(observations)) if index not in claims]
    if not free or not tracks:
        return dict(claims), tuple(tracks)
    candidates = [observations[index] for index in free]
    same = _equal([track.label for track in tracks], [candidate.label for candidate in candidates])
    pairs = dict(assign(np.where(same, cost(tracks, candidates), np.inf), limit))
    won = {free[column]: tracks[row] for row, column in pairs.items()}
    return {**claims, **won}, tuple(track for row, track in enumerate(tracks) if row not in pairs)


def _equal(first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    return np.array(first)[:, None] == np.array(second)[None, :]


def _appearance_cost(
    tracks: Sequence[Track], candidates: Sequence[Observation], similarity: Similarity
) -> Float[np.ndarray, "track detection"]:
    seen = [track.points[0] if len(track.points) == 1 else cat(track.points) for track in tracks]
    alike = similarity(seen, [candidate.points for candidate in candidates])
    return 1.0 - alike.double().cpu().numpy()


def _mix_motion(
    cost: Float[np.ndarray, "track detection"],
    tracks: Sequence[Track],
    candidates: Sequence[Observation],
    options: CascadeOptions,
) -> Float[np.ndarray, "track detection"]:
    """First-stage cost: appearance, and how far each observation is from where its track should be."""
    if options.motion_weight == 1 and not options.gate:
        return cost
    measured = kalman.measure(np.stack([candidate.box for candidate in candidates]))
    distance = np.stack([kalman.gate(track.motion, measured) for track in tracks if track.motion is not None])
    mixed = options.motion_weight * cost + (1 - options.motion_weight) * distance
    return np.where(distance > options.gate_threshold, np.inf, mixed) if options.gate else mixed


def _overlap_cost(
    tracks: Sequence[Track], others: Sequence[Track] | Sequence[Observation]
) -> Float[np.ndarray, "track other"]:
    first, second = (as_tensor(np.stack([one.box for one in side])) for side in (tracks, others))
    # Two boxes without area have an IoU of 0 / 0; they share nothing.
    return 1.0 - np.nan_to_num(box_iou(first, second).numpy())


def _predicted(tracks: Sequence[Track], options: CascadeOptions, lost: bool) -> tuple[Track, ...]:
    if not options.use_kalman:
        return tuple(tracks)
    states = (kalman.predict(track.motion, hold_height=lost) for track in tracks if track.motion is not None)
    return tuple(_moved(track, state) for track, state in zip(tracks, states, strict=True))


def _moved(track: Track, motion: kalman.State) -> Track:
    return replace(track, motion=motion, box=kalman.box(motion))


def _extended(track: Track, observation: Observation, now: int, options: CascadeOptions) -> Track:
    """The track with one more observation."""
    points = (*track.points, observation.points)[-options.memory :]
    track = replace(track, seen=now, points=points, box=observation.box)
    if track.motion is None:
        return track
    return _moved(track, kalman.update(track.motion, kalman.measure(observation.box)))


def _births(
    observations: Sequence[Observation], claims: _Claims, next_id: int, now: int, options: CascadeOptions
) -> dict[int, Track]:
    """New tracks of the observations that no track has claimed."""
    free = (i for i, o in enumerate(observations) if i not in claims and o.score >= options.birth_score)
    return {
        index: Track(
            id=id,
            label=observations[index].label,
            born=now,
            seen=now,
            box=observations[index].box,
            points=(observations[index].points,),
            motion=kalman.initiate(kalman.measure(observations[index].box)) if options.use_kalman else None,
        )
        for id, index in enumerate(free, start=next_id)
    }


def _by_id(claims: _Claims) -> tuple[Track, ...]:
    return tuple(sorted(claims.values(), key=lambda track: track.id))


def _without_duplicates(state: CascadeState, options: CascadeOptions) -> CascadeState:
    """Of each seen and lost track in the same place, drop the one that lived shorter (the seen one in a tie)."""
    current = (*state.tracked, *state.unconfirmed)
    if not options.use_iou or not current or not state.lost:
        return state
    same = _equal([track.label for track in current], [track.label for track in state.lost])
    close = np.where(same, _overlap_cost(current, state.lost), np.inf) < options.duplicate_limit
    pairs = [(current[row], state.lost[column]) for row, column in np.argwhere(close)]
    drop = {min(pair, key=lambda track: track.seen - track.born).id for pair in pairs}

    def keep(tracks: Sequence[Track]) -> tuple[Track, ...]:
        return tuple(track for track in tracks if track.id not in drop)

    return replace(
        state, tracked=keep(state.tracked), unconfirmed=keep(state.unconfirmed), lost=keep(state.lost)
    )
