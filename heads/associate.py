"""The JDE cascade: gives the objects of a frame the identities of earlier ones, by appearance, motion and overlap.

Pure functions on the frozen records of `heads.cascade`: `step` takes the state after the last frame and the
observations of this one, and returns the new state and the id of every observation. How alike two objects look is
asked of a callable. Trackers of another cascade, such as `heads.bytetrack`, share its parts: `predict`, `claim`,
`settle`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, cat

from heads import kalman
from heads.cascade import CascadeOptions, CascadeState, Observation, Track

__all__ = [
    "CascadeOptions",
    "CascadeState",
    "Observation",
    "Track",
    "assign",
    "claim",
    "overlap_cost",
    "predict",
    "settle",
    "step",
]

Similarity = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""Points (point, channel) of each track, points of each detection -> (track, detection), at most 1."""
Claims = Mapping[int, Track]
"""Index of an observation -> the track that it belongs to."""
Cost = Callable[[Sequence[Track], Sequence[Observation]], Float[np.ndarray, "track detection"]]
Overlap = Callable[
    [Sequence[Track], Sequence[Track] | Sequence[Observation]], Float[np.ndarray, "track other"]
]
"""How far the boxes of tracks are from those of others: 1 - IoU."""


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
    claims, missed = _match(state, observations, similarity, options)
    return settle(state, observations, claims, missed, options, fps)


def settle(
    state: CascadeState,
    observations: Sequence[Observation],
    claims: Claims,
    missed: Sequence[Track],
    options: CascadeOptions,
    fps: float,
    overlap: Overlap | None = None,
) -> tuple[CascadeState, Int[np.ndarray, " detection"]]:
    """End a frame whose observations are claimed: extend tracks, start new ones, forget old ones, drop duplicates.

    Args:
        state: After the last frame.
        observations: Of this frame.
        claims: The tracks that were found again, as `predict` left them.
        missed: Confirmed tracks without an observation, as `predict` left them.
        options: Those of births, of time, of the filter and of duplicates.
        fps: Frames per second of the clip.
        overlap: By what duplicates are known; None: `overlap_cost`.

    Returns:
        As `step`.
    """
    now = state.frames
    seen = _extended(claims, observations, now, options)
    new = _births(observations, claims, state.next_id, now, options)
    sure = options.confirm_at_birth or now == 0
    longest = int(fps / 30 * options.buffer)
    after = CascadeState(
        tracked=_by_id(seen | new if sure else seen),
        unconfirmed=() if sure else _by_id(new),
        lost=tuple(_alone(track, now) for track in missed if now - track.seen <= longest),
        frames=now + 1,
        next_id=state.next_id + len(new),
    )
    after = _without_duplicates(after, options, overlap or overlap_cost)
    confirmed = {track.id for track in after.tracked}
    ids = np.zeros(len(observations), dtype=np.int64)
    for index, track in (seen | new).items():
        ids[index] = track.id if track.id in confirmed else 0
    return after, ids


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
    rows, columns = linear_sum_assignment(gain)
    paired = gain[rows, columns] < 0
    return list(zip(rows[paired].tolist(), columns[paired].tolist(), strict=True))


def _match(
    state: CascadeState, observations: Sequence[Observation], similarity: Similarity, options: CascadeOptions
) -> tuple[dict[int, Track], tuple[Track, ...]]:
    """Three stages, each for what the ones before have left: all claims, and the confirmed tracks without one."""

    def appearance(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _appearance_cost(tracks, candidates, similarity)

    def moving(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _mix_motion(appearance(tracks, candidates), tracks, candidates, options)

    claims, left = claim({}, predict(state, options), observations, moving, options.appearance_limit)
    if not options.use_iou:
        claims, _ = claim(claims, state.unconfirmed, observations, appearance, options.appearance_limit)
        return claims, left
    latest = state.frames - 1
    fresh = tuple(track for track in left if track.seen == latest)
    claims, fresh = claim(claims, fresh, observations, overlap_cost, options.iou_limit)
    claims, _ = claim(claims, state.unconfirmed, observations, overlap_cost, options.confirm_limit)
    return claims, (*fresh, *(track for track in left if track.seen < latest))


def claim(
    claims: Claims,
    tracks: Sequence[Track],
    observations: Sequence[Observation],
    cost: Cost,
    limit: float,
    among: Sequence[int] | None = None,
) -> tuple[dict[int, Track], tuple[Track, ...]]:
    """Match tracks with the observations that are still free; those of different classes are never matched.

    Args:
        claims: So far in this frame.
        tracks: Without an observation.
        observations: Of this frame, all of them.
        cost: Of tracks and observations.
        limit: See `assign`.
        among: Indices of the observations that take part; None: all.

    Returns:
        All claims so far, and the tracks left over.
    """
    free = [i for i in (range(len(observations)) if among is None else among) if i not in claims]
    if not free or not tracks:
        return dict(claims), tuple(tracks)
    candidates = [observations[index] for index in free]
    same = _equal([track.label for track in tracks], [candidate.label for candidate in candidates])
    pairs = dict(assign(np.where(same, cost(tracks, candidates), np.inf), limit))
    won = {free[column]: tracks[row] for row, column in pairs.items()}
    return {**claims, **won}, tuple(track for row, track in enumerate(tracks) if row not in pairs)


def _equal(first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    same: np.ndarray = np.equal.outer(first, second)
    return same


def _appearance_cost(
    tracks: Sequence[Track], candidates: Sequence[Observation], similarity: Similarity
) -> Float[np.ndarray, "track detection"]:
    seen = [track.points[0] if len(track.points) == 1 else cat(track.points) for track in tracks]
    alike = similarity(seen, [candidate.points for candidate in candidates])
    cost: np.ndarray = 1.0 - alike.double().cpu().numpy()
    return cost


def _mix_motion(
    cost: Float[np.ndarray, "track detection"],
    tracks: Sequence[Track],
    candidates: Sequence[Observation],
    options: CascadeOptions,
) -> Float[np.ndarray, "track detection"]:
    """First-stage cost: appearance, and how far each observation is from where its track should be."""
    if options.motion_weight == 1 and not options.gate:
        return cost
    measured = kalman.measure(_boxes(candidates))
    distance = kalman.gate(_motions(tracks), measured)
    mixed = options.motion_weight * cost + (1 - options.motion_weight) * distance
    return np.where(distance > options.gate_threshold, np.inf, mixed) if options.gate else mixed


def overlap_cost(
    tracks: Sequence[Track], others: Sequence[Track] | Sequence[Observation], edge: float = 0.0
) -> Float[np.ndarray, "track other"]:
    """1 - IoU; two boxes without area share nothing.

    Args:
        tracks: Their boxes are the rows.
        others: Their boxes are the columns.
        edge: Added to every width and height: 1 where x2 and y2 are a box's last pixels, not its ends.
    """
    ends = np.array([[0.0], [0.0], [edge], [edge]])
    first, second = (_boxes(tracks).T + ends)[..., None], (_boxes(others).T + ends)[:, None]
    width, height = np.maximum(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0.0)
    shared = width * height
    whole = _area(first) + _area(second) - shared
    return np.asarray(1.0 - np.divide(shared, whole, out=np.zeros_like(shared), where=whole != 0))


def _area(boxes: Float[np.ndarray, "4 *object"]) -> Float[np.ndarray, "*object"]:
    return np.asarray((boxes[2] - boxes[0]) * (boxes[3] - boxes[1]))


def predict(state: CascadeState, options: CascadeOptions) -> tuple[Track, ...]:
    """The confirmed tracks, where they should be by now."""
    tracks = (*state.tracked, *state.lost)
    if not options.use_kalman or not tracks:
        return tracks
    lost = np.arange(len(tracks)) >= len(state.tracked)
    motion = kalman.predict(_motions(tracks), hold_height=lost)
    rows = zip(tracks, kalman.box(motion), kalman.unstack(motion), strict=True)
    return tuple(_at(track, track.seen, box, track.points, state) for track, box, state in rows)


def _at(
    track: Track, seen: int, box: np.ndarray, points: tuple[Tensor, ...], motion: kalman.State | None
) -> Track:
    """The same track at another time: `dataclasses.replace`, which would take most of the time of a frame."""
    return Track(track.id, track.label, track.born, seen, box, points, motion)


def _motions(tracks: Sequence[Track]) -> kalman.State:
    return kalman.stack([track.motion for track in tracks if track.motion is not None])


def _boxes(objects: Sequence[Track] | Sequence[Observation]) -> Float[np.ndarray, "object 4"]:
    return np.array([one.box for one in objects])


def _extended(
    claims: Claims, observations: Sequence[Observation], now: int, options: CascadeOptions
) -> dict[int, Track]:
    """The claims with each track extended by its observation."""
    tracks, found = list(claims.values()), [observations[index] for index in claims]
    boxes, motions = _followed(found, options, lambda seen: kalman.update(_motions(tracks), seen))
    seen = [
        _at(track, now, box, (*track.points, one.points)[-options.memory :], motion)
        for track, one, box, motion in zip(tracks, found, boxes, motions, strict=True)
    ]
    return dict(zip(claims, seen, strict=True))


def _alone(track: Track, now: int) -> Track:
    """A track that is lost now keeps its points, and no longer the features of all objects that they were cut from."""
    if track.seen < now - 1:
        return track
    return replace(track, points=tuple(points.clone() for points in track.points))


def _births(
    observations: Sequence[Observation], claims: Claims, next_id: int, now: int, options: CascadeOptions
) -> dict[int, Track]:
    """New tracks of the observations that no track has claimed."""
    free = [i for i, one in enumerate(observations) if i not in claims and one.score >= options.birth_score]
    found = [observations[index] for index in free]
    _, motions = _followed(found, options, kalman.initiate)
    new = [
        Track(id, one.label, born=now, seen=now, box=one.box, points=(one.points,), motion=motion)
        for id, (one, motion) in enumerate(zip(found, motions, strict=True), start=next_id)
    ]
    return dict(zip(free, new, strict=True))


def _followed(
    found: Sequence[Observation], options: CascadeOptions, believe: Callable[[np.ndarray], kalman.State]
) -> tuple[Sequence[np.ndarray], Sequence[kalman.State | None]]:
    """Boxes and states of the filter after these observations; without a filter the boxes as they are, and no state."""
    if not found or not options.use_kalman:
        return [one.box for one in found], [None for _ in found]
    states = believe(kalman.measure(_boxes(found)))
    return list(kalman.box(states)), kalman.unstack(states)


def _by_id(claims: Claims) -> tuple[Track, ...]:
    return tuple(sorted(claims.values(), key=lambda track: track.id))


def _without_duplicates(state: CascadeState, options: CascadeOptions, overlap: Overlap) -> CascadeState:
    """Of each seen and lost track in the same place, drop the one that lived shorter (the seen one in a tie)."""
    current = (*state.tracked, *state.unconfirmed)
    if not options.use_iou or not current or not state.lost:
        return state
    same = _equal([track.label for track in current], [track.label for track in state.lost])
    close = np.where(same, overlap(current, state.lost), np.inf) < options.duplicate_limit
    pairs = [(current[row], state.lost[column]) for row, column in np.argwhere(close)]
    drop = {min(pair, key=lambda track: track.seen - track.born).id for pair in pairs}

    def keep(tracks: Sequence[Track]) -> tuple[Track, ...]:
        return tuple(track for track in tracks if track.id not in drop)

    return replace(
        state, tracked=keep(state.tracked), unconfirmed=keep(state.unconfirmed), lost=keep(state.lost)
    )
