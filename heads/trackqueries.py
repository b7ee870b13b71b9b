"""Track queries: what a transformer found in one frame asks for itself in the next.

A query that a decoder answered is a track; its output is asked again in the next frame, beside the learnt object
queries that find new objects. The network associates; this keeps the books: births, losses, returns and ends.

Reference: Meinhardt et al., "TrackFormer", CVPR 2022, sections 3.2 and A.1; order and numbers are those of the authors'
code, which TrIVD follows.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int
from msgspec import Meta

from heads.track_store import box_iou

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class TrackQueryOptions:
    """Every number of the life of a track query. Scores must be above a limit, and so must overlaps that suppress."""

    birth_score: Share = 0.4
    """Of an object query that starts a track."""
    track_score: Share = 0.4
    """Of an active track that goes on; without it, it is inactive at once."""
    return_score: Share = 0.4
    """Of an inactive track that is found again."""
    track_nms: Share = 0.9
    """Overlap above which the weaker of two active tracks ends."""
    birth_nms: Share = 0.9
    """Overlap with a track, or with a better birth, above which a birth is suppressed; its id is never used."""
    patience: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    """Frames in which a track may be inactive, all frames of its life together: in the authors' code its return does
    not set the count back."""
    public_iou: Share = 0.5
    """Least overlap of a birth with a public box."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks as they were last found, one row each."""

    ids: Int[np.ndarray, " track"]
    boxes: Float[np.ndarray, "track 4"]
    """xyxy, pixels."""
    scores: Float[np.ndarray, " track"]
    classes: Int[np.ndarray, " track"]
    embeddings: Float[np.ndarray, "track dim"]
    """What the decoder gave: the content of the query in the next frame."""
    missed: Int[np.ndarray, " track"]
    """Frames in which it was inactive."""


def _nothing() -> Tracks:
    none = np.zeros(0, dtype=np.int64)
    return Tracks(none, np.zeros((0, 4)), np.zeros(0), none, np.zeros((0, 0)), none)


@dataclass(frozen=True, eq=False)
class TrackQueryState:
    """The tracker between two frames. `step` returns the one after the next frame."""

    options: TrackQueryOptions = TrackQueryOptions()
    active: Tracks = field(default_factory=_nothing)
    """Found in the last frame."""
    inactive: Tracks = field(default_factory=_nothing)
    """Lost, and still asked for: only so can they return."""
    next_id: int = 1

    @property
    def asked(self) -> Tracks:
        """All tracks that are asked for in the next frame: the active ones, then the inactive ones."""
        return _joined(self.active, self.inactive)

    def step(
        self,
        boxes: Float[np.ndarray, "query 4"],
        scores: Float[np.ndarray, " query"],
        classes: Int[np.ndarray, " query"],
        embeddings: Float[np.ndarray, "query dim"],
        public: Float[np.ndarray, "public 4"] | None = None,
    ) -> tuple["TrackQueryState", Int[np.ndarray, " query"]]:
        """Read the answers to the queries of the next frame: first the tracks in the order of `asked`, then the others.

        Args:
            boxes: xyxy, pixels, within the image.
            scores: Of each query's best class, 0 to 1.
            classes: That class; a track that is found as another one is not found.
            embeddings: The decoder's outputs.
            public: Boxes of given detections, xyxy, each of which allows one birth. None: births are free.

        Returns:
            The tracker after this frame; (query) the track id of each query, from 1 on, 0 where it is in none.

        Raises:
            ValueError: There are fewer queries than tracks, or a box or score is not finite.
        """
        old = self.asked
        count, asked = len(boxes), len(old.ids)
        if count < asked:
            raise ValueError(
                f"trackqueries: {count} queries, expected at least the {asked} tracks that are asked for; give their "
                "answers first"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(
                "trackqueries: a box or a score is not finite, expected finite numbers; check the network's weights"
            )
        answers = Tracks(
            np.zeros(count, np.int64), boxes, scores, classes, embeddings, np.zeros(count, np.int64)
        )
        answers.ids[:asked], answers.missed[:asked] = old.ids, old.missed
        found, lost = self._asked_again(answers)
        born = asked + self._births(_rows(answers, np.arange(asked, count)), public)
        answers.ids[born] = np.arange(self.next_id, self.next_id + len(born))
        order = np.concatenate([found, born[np.argsort(-scores[born], kind="stable")]])
        rows = np.sort(order[_distinct(boxes[order], self.options.birth_nms)])
        ids = np.zeros(count, dtype=np.int64)
        ids[rows] = answers.ids[rows]
        inactive = _rows(old, lost)
        return replace(
            self,
            active=_rows(answers, rows),
            inactive=self._still_asked(replace(inactive, missed=inactive.missed + 1)),
            next_id=self.next_id + len(born),
        ), ids

    def _asked_again(self, answers: Tracks) -> tuple[Int[np.ndarray, " found"], Int[np.ndarray, " lost"]]:
        """Rows of the tracks that are found, and of those that are not; what repeats a better one is in neither."""
        old, active = self.asked, len(self.active.ids)
        asked = len(old.ids)
        scores = answers.scores[:asked]
        alive = np.concatenate(
            [scores[:active] > self.options.track_score, scores[active:] > self.options.return_score]
        )
        alive &= answers.classes[:asked] == old.classes
        found, lost = np.flatnonzero(alive), np.flatnonzero(~alive)
        lost = np.concatenate([lost[lost >= active], lost[lost < active]])  # the newly lost are asked last
        order = found[np.argsort(-answers.scores[found], kind="stable")]
        return np.sort(order[_distinct(answers.boxes[order], self.options.track_nms)]), lost

    def _births(
        self, answers: Tracks, public: Float[np.ndarray, "public 4"] | None
    ) -> Int[np.ndarray, " birth"]:
        """Rows of the object queries that found something, where there is a public box for it."""
        rows = np.flatnonzero(answers.scores > self.options.birth_score)
        if public is None or not len(rows):
            return rows
        overlap, allowed = box_iou(answers.boxes[rows], public), np.zeros(len(rows), dtype=bool)
        for column in range(len(public)):
            best = int(overlap[:, column].argmax())
            if overlap[best, column] >= self.options.public_iou:
                allowed[best] = True
                overlap[best] = 0.0
        return rows[allowed]

    def _still_asked(self, inactive: Tracks) -> Tracks:
        """Those that are not missed for too long; an empty box is no place to ask at."""
        sides = inactive.boxes[:, 2:] - inactive.boxes[:, :2]
        return _rows(
            inactive, np.flatnonzero((inactive.missed <= self.options.patience) & (sides > 0).all(axis=1))
        )


def _distinct(boxes: Float[np.ndarray, "row 4"], limit: float) -> Int[np.ndarray, " kept"]:
    """Rows that overlap no earlier row that is kept by more than the limit."""
    repeated: Bool[np.ndarray, "row row"] = np.triu(box_iou(boxes, boxes) > limit, k=1)
    kept = np.ones(len(boxes), dtype=bool)
    for row in range(len(boxes)):
        if kept[row]:
            kept &= ~repeated[row]
    return np.flatnonzero(kept)


def _rows(one: Tracks, rows: Int[np.ndarray, " row"]) -> Tracks:
    return Tracks(
        one.ids[rows],
        one.boxes[rows],
        one.scores[rows],
        one.classes[rows],
        one.embeddings[rows],
        one.missed[rows],
    )


def _joined(first: Tracks, second: Tracks) -> Tracks:
    if not len(second.ids):
        return first
    if not len(first.ids):
        return second
    return Tracks(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.classes, second.classes]),
        np.concatenate([first.embeddings, second.embeddings]),
        np.concatenate([first.missed, second.missed]),
    )
