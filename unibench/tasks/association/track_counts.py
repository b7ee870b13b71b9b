"""Counts of true and predicted identities, frame by frame, where nothing has to be matched."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

Track = tuple[int, int]
"""Class and identity."""
Pair = tuple[Track, Track | None]
"""The true track of an object in one frame, and the predicted one; None: it is not predicted."""


def count_tracks(frames: Sequence[Sequence[Pair]]) -> dict[str, float]:
    """Count how often each true track has each predicted identity.

    Args:
        frames: The objects of each frame; every track of the truth at most once a frame.

    Returns:
        `objects`, `tracks`, `gaps` of the truth; `switches`: changes of a track's predicted identity; `idtp`: objects
        that keep their identity under the best one-to-one choice of identities; sums over objects of `AssA`, `AssRe`,
        `AssPr`.
    """
    pairs = Counter(pair for frame in frames for pair in frame)
    of_track, of_name = Counter[Track](), Counter[Track | None]()
    for (track, name), count in pairs.items():
        of_track[track] += count
        of_name[name] += count
    known = {(track, name): count for (track, name), count in pairs.items() if name is not None}
    sums = {"AssA": 0.0, "AssRe": 0.0, "AssPr": 0.0}
    for (track, name), count in known.items():
        sums["AssA"] += count**2 / (of_track[track] + of_name[name] - count)
        sums["AssRe"] += count**2 / of_track[track]
        sums["AssPr"] += count**2 / of_name[name]
    kinds = {kind for kind, _ in of_track}
    gaps = (_gaps([[track for track, _ in frame if track[0] == kind] for frame in frames]) for kind in kinds)
    return {
        "objects": float(of_track.total()),
        "tracks": float(len(of_track)),
        "gaps": float(sum(gaps)),
        "switches": float(_switches(frames)),
        "idtp": float(_one_to_one(known)),
        **sums,
    }


def _gaps(frames: Sequence[Collection[Track]]) -> int:
    """How often a track comes back; frames without any track of its class are passed over, as TrackEval does."""
    earlier: set[Track] = set()
    last: set[Track] = set()
    gaps = 0
    for present in map(set, filter(None, frames)):
        gaps += len((present & earlier) - last)
        earlier, last = earlier | present, present
    return gaps


def _switches(frames: Sequence[Sequence[Pair]]) -> int:
    latest: dict[Track, Track | None] = {}
    switches = 0
    for frame in frames:
        switches += sum(latest.get(track, name) != name for track, name in frame)
        latest |= dict(frame)
    return switches


def _one_to_one(pairs: dict[tuple[Track, Track], int]) -> int:
    tracks, names = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    table = np.zeros((len(tracks), len(names)), dtype=np.int64)
    for (track, name), count in pairs.items():
        table[tracks.index(track), names.index(name)] = count
    return int(table[linear_sum_assignment(table, maximize=True)].sum())
