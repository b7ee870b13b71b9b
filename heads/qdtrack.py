"""QDTrack: objects find their tracks by bi-soft-max over the embeddings of tracks and of what was no track.

Reference: Pang et al., "Quasi-Dense Similarity Learning for Multiple Object Tracking", CVPR 2021, section 3.3; the
numbers are those of Unicorn's code (Yan et al., ECCV 2022).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from heads.track_store import box_iou


@dataclass(frozen=True)
class QDTrackOptions:
    """Every number of QDTrack; the defaults are those of its class. Scores and similarities must be above a limit."""

    birth_score: float = 0.8
    """An object that is in no track starts one if its score is above."""
    track_score: float = 0.5
    """An object joins a track that it is like if its score is above."""
    match: float = 0.5
    """Least similarity of an object and its track."""
    suppress: float = 0.5
    """An object too weak to join a track, but more alike to it than this, neither starts one nor is a backdrop."""
    momentum: float = 0.8
    """Share of the new embedding in that of a track."""
    memory: int = 30
    """A track that was not seen for so many frames is forgotten."""
    backdrops: int = 1
    """Frames with objects whose backdrops, the objects in no track, are remembered."""
    backdrop_iou: float = 0.3
    """Overlap with a better object above which one with less than `track_score` is dropped, and above which one is no
    backdrop."""
    duplicate_iou: float = 0.7
    """Overlap with a better object, of any class, above which one with `track_score` or more is dropped."""
    temperature: float = 1.0
    """Dot products of embeddings are divided by it before the soft-max. 1 suits embeddings that were trained for it,
    of any length; dot products of unit vectors lie within -1 and 1, which a soft-max hardly tells apart: they need
    less."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"qdtrack: temperature is {self.temperature}, expected more than 0; 1 leaves dot products as they are"
            )


MOTS20 = QDTrackOptions()
BDD_MOT = QDTrackOptions(birth_score=0.4, track_score=0.2, momentum=1.0, memory=10)
BDD_MOTS = replace(BDD_MOT, birth_score=0.5, track_score=0.3)


@dataclass(frozen=True, eq=False)
class Remembered:
    """Tracks, or the backdrops of a frame: one row each."""

    embeddings: Float[np.ndarray, "row dim"]
    classes: Int[np.ndarray, " row"]
    """A track's is that of its last object."""
    ids: Int[np.ndarray, " row"]
    """0: a backdrop."""
    seen: Int[np.ndarray, " row"]
    """Frame of the last object."""


def _nothing() -> Remembered:
    none = np.zeros(0, dtype=np.int64)
    return Remembered(np.zeros((0, 0)), none, none, none)


@dataclass(frozen=True, eq=False)
class QDTrack:
    """The tracker between two frames. `step` returns the one after the next frame."""

    options: QDTrackOptions = MOTS20
    tracks: Remembered = field(default_factory=_nothing)
    """In the order of their ids."""
    backdrops: tuple[Remembered, ...] = ()
    """Of each of the last frames with objects, the newest first."""
    frames: int = 0
    """Frames so far."""
    next_id: int = 1

    def step(
        self,
        boxes: Float[np.ndarray, "object 4"],
        scores: Float[np.ndarray, " object"],
        classes: Int[np.ndarray, " object"],
        embeddings: Float[np.ndarray, "object dim"],
    ) -> tuple["QDTrack", Int[np.ndarray, " object"]]:
        """Identify the objects of the next frame; without any, time goes on and nothing else changes.

        Args:
            boxes: xyxy, pixels.
            scores: 0 to 1.
            classes: Objects of different classes are never one.
            embeddings: Their dot products are compared.

        Returns:
            The tracker after this frame; (object) the track id of each object, from 1 on, 0 where it is in none: a
            duplicate of a better one, too weak, or unlike all tracks.
        """
        ids = np.zeros(len(boxes), dtype=np.int64)
        if not len(boxes):
            return replace(self, frames=self.frames + 1), ids
        order = np.argsort(-scores, kind="stable")
        rows = order[_distinct(boxes[order], scores[order], self.options)]
        found = Remembered(
            embeddings[rows], classes[rows], np.zeros(len(rows), np.int64), np.full(len(rows), self.frames)
        )
        own, suppressed = self._claims(found, scores[rows])
        born = (own == 0) & ~suppressed & (scores[rows] > self.options.birth_score)
        own[born] = np.arange(self.next_id, self.next_id + born.sum())
        ids[rows] = own
        aside = np.flatnonzero((own == 0) & ~suppressed)
        overlap = box_iou(boxes[rows], boxes[rows])
        aside = [row for row in aside.tolist() if not (overlap[row, :row] > self.options.backdrop_iou).any()]
        return replace(
            self,
            tracks=self._tracks(replace(found, ids=own)),
            backdrops=(_rows(found, np.array(aside, dtype=np.int64)), *self.backdrops)[
                : self.options.backdrops
            ],
            frames=self.frames + 1,
            next_id=self.next_id + int(born.sum()),
        ), ids

    def _claims(
        self, found: Remembered, scores: Float[np.ndarray, " object"]
    ) -> tuple[Int[np.ndarray, " object"], np.ndarray]:
        """Ids of the tracks that objects join, the best object first, and which objects are suppressed."""
        ids, suppressed = np.zeros(len(scores), dtype=np.int64), np.zeros(len(scores), dtype=bool)
        if not len(self.tracks.ids):
            return ids, suppressed
        known = _joined(self.tracks, *self.backdrops)
        similarity = bisoftmax(found.embeddings @ known.embeddings.T / self.options.temperature)
        similarity *= np.equal.outer(found.classes, known.classes)
        for row in range(len(scores)):
            best = int(similarity[row].argmax())
            if similarity[row, best] <= self.options.match or not known.ids[best]:
                continue
            if scores[row] > self.options.track_score:
                ids[row] = known.ids[best]
                similarity[row + 1 :, best] = 0.0
            else:
                suppressed[row] = similarity[row, best] > self.options.suppress
        return ids, suppressed

    def _tracks(self, found: Remembered) -> Remembered:
        """The tracks after this frame: moved on, new ones added, old ones forgotten."""
        old, share = self.tracks, self.options.momentum
        new = _rows(found, np.flatnonzero(found.ids >= self.next_id))
        if not len(old.ids):
            return new
        again = np.flatnonzero(np.isin(found.ids, old.ids) & (found.ids > 0))
        where = np.searchsorted(old.ids, found.ids[again])
        embeddings, classes, seen = old.embeddings.copy(), old.classes.copy(), old.seen.copy()
        embeddings[where] = (1 - share) * embeddings[where] + share * found.embeddings[again]
        classes[where], seen[where] = found.classes[again], self.frames
        after = _joined(Remembered(embeddings, classes, old.ids, seen), new)
        return _rows(after, np.flatnonzero(self.frames - after.seen < self.options.memory))


def bisoftmax(similarity: Float[np.ndarray, "object known"]) -> Float[np.ndarray, "object known"]:
    """Mean of the soft-max over what is known and the soft-max over the objects, 0 to 1."""
    return np.asarray((softmax(similarity, axis=1) + softmax(similarity, axis=0)) / 2)


def _distinct(
    boxes: Float[np.ndarray, "object 4"], scores: Float[np.ndarray, " object"], options: QDTrackOptions
) -> Int[np.ndarray, " kept"]:
    """Rows of objects, best first, that do not repeat a better one, be it itself dropped or not."""
    limit = np.where(scores < options.track_score, options.backdrop_iou, options.duplicate_iou)
    repeated = np.tril(box_iou(boxes, boxes) > limit[:, None], k=-1).any(axis=1)
    return np.flatnonzero(~repeated)


def _rows(one: Remembered, rows: Int[np.ndarray, " row"]) -> Remembered:
    return Remembered(one.embeddings[rows], one.classes[rows], one.ids[rows], one.seen[rows])


def _joined(*parts: Remembered) -> Remembered:
    return Remembered(
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.seen for part in parts]),
    )
