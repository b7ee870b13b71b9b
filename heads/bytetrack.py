"""ByteTrack: boxes are linked by motion and overlap alone, those with high scores first, then those with low ones.

The association reads no pixel, so it is the floor of every board of multi-object tracking. It is another cascade of
`heads.associate`: filter, assignment, births and the end of tracks are the same.

Reference: Zhang et al., "ByteTrack", ECCV 2022, algorithm 1; the numbers are those of Unicorn's code (Yan et al.,
ECCV 2022).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from heads import associate
from heads.cascade import CascadeOptions, CascadeState, Observation, Track

_LOOKS = torch.zeros(0, 0)
"""What an object looks like: it is not looked at."""
_FRAMES_PER_SECOND = 30.0
"""At which the cascade counts time in frames."""


@dataclass(frozen=True)
class ByteTrackOptions:
    """Every number of ByteTrack; the defaults are those of MOT17. A limit is of 1 - IoU, and pairs at it stay apart."""

    high_score: float = 0.6
    """Observations with more take part in the first stage, those with less and more than `low_score` in the second."""
    low_score: float = 0.1
    birth_score: float = 0.7
    """An observation that no track claims starts a track if its score is at least this; `high_score` + .1."""
    first_limit: float = 0.9
    """First stage: tracks that were seen in the last frame, and lost ones."""
    second_limit: float = 0.5
    """Second stage: tracks that were seen in the last frame."""
    confirm_limit: float = 0.7
    """Third stage: tracks that were seen once only."""
    fuse_score: bool = True
    """Whether IoU is multiplied by the observation's score in the first and third stage."""
    duplicate_limit: float = 0.15
    """Of a tracked and a lost track below it, the one that lived shorter is removed."""
    buffer: float = 30.0
    """Frames for which a track may be lost."""
    buffers: Mapping[str, float] = field(default_factory=dict)
    """Start of a clip's name -> its own `buffer`; see `MOT17_BUFFERS`."""
    min_area: float = 100.0
    """Of the boxes that would be written, only those with more square pixels are."""
    max_aspect: float = 1.6
    """Of the boxes that would be written, only those with at most this w/h are."""

    def __post_init__(self) -> None:
        if not 0 <= self.low_score <= self.high_score <= self.birth_score:
            raise ValueError(
                f"bytetrack: low_score {self.low_score}, high_score {self.high_score}, birth_score {self.birth_score}, "
                "expected 0 or more, in this order; give them in ascending order"
            )

    def for_clip(self, name: str) -> "ByteTrackOptions":
        """Choose the buffer of a clip by its name."""
        own = [frames for start, frames in self.buffers.items() if name.startswith(start)]
        return replace(self, buffer=own[0], buffers={}) if own else self


MOT17 = ByteTrackOptions()
MOT20 = ByteTrackOptions(high_score=0.3, birth_score=0.4, fuse_score=False)
MOT17_BUFFERS: Mapping[str, float] = {
    "MOT17-05": 14.0,
    "MOT17-06": 14.0,
    "MOT17-13": 25.0,
    "MOT17-14": 25.0,
}
"""Set sequence by sequence where results on MOT17 were published: a second of each clip. Not part of `MOT17`. The same
script's score thresholds for single sequences are overwritten before they are used."""


@dataclass(frozen=True, eq=False)
class ByteTrack:
    """The tracker between two frames. `step` returns the one after the next frame."""

    options: ByteTrackOptions = MOT17
    state: CascadeState = field(default_factory=CascadeState)

    def step(
        self,
        boxes: Float[np.ndarray, "object 4"],
        scores: Float[np.ndarray, " object"],
        classes: Int[np.ndarray, " object"] | None = None,
    ) -> tuple["ByteTrack", Int[np.ndarray, " object"], Float[np.ndarray, "object 4"]]:
        """Identify the objects of the next frame; without any, the tracks still age.

        The published scripts do not call it in a frame without any object, so that time stands still there.

        Args:
            boxes: xyxy, pixels.
            scores: 0 to 1.
            classes: Objects of different classes are never one; None: all are of one class.

        Returns:
            The tracker after this frame; (object) the track id of each object, from 1 on, 0 where it is of no
            confirmed track; (object, 4) its box as the filter has it, or where the id is 0 as it was given.
        """
        labels = np.zeros(len(boxes), dtype=np.int64) if classes is None else classes
        observations = [
            Observation(_LOOKS, box, float(score), int(label))
            for box, score, label in zip(boxes, scores, labels, strict=True)
        ]
        claims, missed = self._match(observations)
        state, ids = associate.settle(
            self.state, observations, claims, missed, self._cascade(), _FRAMES_PER_SECOND, _overlap_cost
        )
        filtered = {track.id: track.box for track in state.tracked}
        written = np.array([filtered.get(id, box) for id, box in zip(ids.tolist(), boxes, strict=True)])
        return replace(self, state=state), ids, written.reshape(-1, 4)

    def _cascade(self) -> CascadeOptions:
        own = self.options
        return CascadeOptions(
            duplicate_limit=own.duplicate_limit, birth_score=own.birth_score, buffer=own.buffer
        )

    def _match(self, observations: Sequence[Observation]) -> tuple[dict[int, Track], tuple[Track, ...]]:
        """Three stages: all claims, and the confirmed tracks without one."""
        own, latest = self.options, self.state.frames - 1
        high = [i for i, one in enumerate(observations) if one.score > own.high_score]
        low = [i for i, one in enumerate(observations) if own.low_score < one.score < own.high_score]
        fused = _fused_cost if own.fuse_score else _overlap_cost
        tracks = associate.predict(self.state, self._cascade())
        claims, left = associate.claim({}, tracks, observations, fused, own.first_limit, high)
        fresh = tuple(track for track in left if track.seen == latest)
        claims, fresh = associate.claim(claims, fresh, observations, _overlap_cost, own.second_limit, low)
        claims, _ = associate.claim(
            claims, self.state.unconfirmed, observations, fused, own.confirm_limit, high
        )
        return claims, (*fresh, *(track for track in left if track.seen < latest))


def plausible(boxes: Float[np.ndarray, "object 4"], options: ByteTrackOptions) -> Int[np.ndarray, " kept"]:
    """Rows of the boxes that are written: not too small, and not too wide for a pedestrian."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return np.flatnonzero((width * height > options.min_area) & (width <= options.max_aspect * height))


def interpolate(
    ids: Sequence[Int[np.ndarray, " _object"]],
    boxes: Sequence[Float[np.ndarray, "_object 4"]],
    *,
    gap: int = 20,
    length: int = 5,
) -> list[tuple[Int[np.ndarray, " filled"], Float[np.ndarray, "filled 4"]]]:
    """Fill the gaps of tracks by straight lines; it reads the whole clip, so what it writes is not online.

    Args:
        ids: Of the tracks in each frame.
        boxes: Theirs, xyxy.
        gap: Observations less than so many frames apart are joined.
        length: Only tracks with more observations are filled.

    Returns:
        For each frame, ids and boxes of the tracks that were not in it and now are.
    """
    seen: dict[int, list[tuple[int, np.ndarray]]] = {}
    for index, (names, places) in enumerate(zip(ids, boxes, strict=True)):
        for name, box in zip(names.tolist(), places, strict=True):
            seen.setdefault(name, []).append((index, box))
    filled: list[list[tuple[int, np.ndarray]]] = [[] for _ in ids]
    for name, track in seen.items():
        for (start, first), (end, last) in zip(track, track[1:], strict=False):
            if len(track) > length and end - start < gap:
                for index in range(start + 1, end):
                    filled[index].append((name, first + (index - start) / (end - start) * (last - first)))
    return [
        (
            np.array([name for name, _ in frame], dtype=np.int64),
            np.array([box for _, box in frame], dtype=np.float64).reshape(-1, 4),
        )
        for frame in filled
    ]


def _overlap_cost(
    tracks: Sequence[Track], others: Sequence[Track] | Sequence[Observation]
) -> Float[np.ndarray, "track other"]:
    """1 - IoU of boxes whose x2 and y2 count as their last pixels, as in the published code."""
    return associate.overlap_cost(tracks, others, edge=1.0)


def _fused_cost(tracks: Sequence[Track], others: Sequence[Observation]) -> Float[np.ndarray, "track other"]:
    """1 - IoU x score."""
    return 1.0 - (1.0 - _overlap_cost(tracks, others)) * np.array([one.score for one in others])
