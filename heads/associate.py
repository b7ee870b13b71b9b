"""The JDE cascade: gives the objects of a frame the identities of earlier ones, by appearance, motion and overlap.

Pure functions on the frozen records of `heads.cascade`: `step` takes the state after the last frame and the
observations of this one, and returns the new state and the id of every observation. How alike two objects look is
asked of a callable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, as_tensor, cat
from torchvision.ops import box_iou

from heads import kalman
from heads.cascade import CascadeOptions, CascadeState, Observation, Track

__all__ = ["CascadeOptions", "CascadeState", "Observation", "Track", "assign", "step"]

Similarity = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""Points (point, channel) of each track, points of each detection -> (track, detection), at most 1."""


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
    claims, missed = _match(state, observations, similarity, options)
    seen = {index: _extended(track, observations[index], now, options) for index, track in claims.items()}
    new = _births(observations, claims, state.next_id, now, options)
    sure = options.confirm_at_birth or now == 0
    longest = int(fps / 30 * options.buffer)
    after = CascadeState(
        tracked=_by_id(seen | new if sure else seen),
        unconfirmed=() if sure else _by_id(new),
        lost=tuple(track for track in missed if now - track.seen <= longest),
        frames=now + 1,
        next_id=state.next_id + len(new),
    )
    after = _without_duplicates(after, options)
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
    return [
        (int(row), int(column))
        for row, column in zip(*linear_sum_assignment(gain), strict=True)
        if gain[row, column] < 0
    ]


def _match(
    state: CascadeState, observations: Sequence[Observation], similarity: Similarity, options: CascadeOptions
) -> tuple[dict[int, Track], tuple[Track, ...]]:
    """Three stages, each for what the ones before have left: all claims, and the confirmed tracks without one."""

    def appearance(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _appearance_cost(tracks, candidates, similarity)

    def moving(tracks: Sequence[Track], candidates: Sequence[Observation]) -> np.ndarray:
        return _mix_motion(appearance(tracks, candidates), tracks, candidates, options)

    pool = (*_predicted(state.tracked, options, lost=False), *_predicted(state.lost, options, lost=True))
    claims, left = _stage({}, pool, observations, moving, options.appearance_limit)
    if not options.use_iou:
        claims, _ = _stage(claims, state.unconfirmed, observations, appearance, options.appearance_limit)
        return claims, left
    latest = state.frames - 1
    fresh = tuple(track for track in left if track.seen == latest)
    claims, fresh = _stage(claims, fresh, observations, _overlap_cost, options.iou_limit)
    claims, _ = _stage(claims, state.unconfirmed, observations, _overlap_cost, options.confirm_limit)
    return claims, (*fresh, *(track for track in left if track.seen < latest))


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
    measured = kalman.measure(np.stack([candidate.box for candidate in candidates]))
    distance = np.stack([kalman.gate(track.motion, measured) for track in tracks if track.motion is not None])
    mixed = options.motion_weight * cost + (1 - options.motion_weight) * distance
    return np.where(distance > options.gate_threshold, np.inf, mixed) if options.gate else mixed


def _overlap_cost(
    tracks: Sequence[Track], others: Sequence[Track] | Sequence[Observation]
) -> Float[np.ndarray, "track other"]:
    first, second = (as_tensor(np.stack([one.box for one in side])) for side in (tracks, others))
    # Two boxes without area have an IoU of 0 / 0; they share nothing.
    cost: np.ndarray = 1.0 - np.nan_to_num(box_iou(first, second).numpy())
    return cost


def _predicted(tracks: Sequence[Track], options: CascadeOptions, *, lost: bool) -> tuple[Track, ...]:
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
