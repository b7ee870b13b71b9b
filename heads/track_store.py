"""The track store: single-hypothesis tracking by greedy matching with the last observations of every living track.

Pure functions on frozen records: `step` takes the store after the last frame and the objects of this one, and returns
the new store and the track id of every object.

Reference: Lu et al., "RetinaTrack", CVPR 2020, section 3.5.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int
from msgspec import Meta

Similarity = Float[np.ndarray, "track object"]


@dataclass(frozen=True)
class StoreOptions:
    """How objects of a frame find their tracks; the same in every frame of a clip."""

    embeddings: bool
    """Similarity: half overlap, half cosine of the embeddings. False: overlap alone, the paper's IOU baseline."""
    min_iou: Annotated[float, Meta(ge=0, le=1)]
    """Overlap below it counts as none."""
    min_cosine: Annotated[float, Meta(ge=-1, le=1)]
    """Epsilon of the paper: objects whose embeddings are less alike are never matched. Without effect if not
    `embeddings`."""
    history: Annotated[int, Meta(ge=1, le=10_000)]
    """H of the paper: observations that a track remembers, each of which may match."""
    patience: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Frames after its last observation in which a track can still be found again."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Objects as they look in one frame or in several, one row each."""

    boxes: Float[np.ndarray, "object 4"]
    classes: Int[np.ndarray, " object"]
    embeddings: Float[np.ndarray, "object dim"]
    """Of any length; only their direction counts."""


@dataclass(frozen=True, eq=False)
class Track:
    """One object over time."""

    id: int
    last: int
    """Frame of its last observation."""
    observations: Observations
    """The latest ones, oldest first; embeddings of unit length."""


@dataclass(frozen=True, eq=False)
class Store:
    """All tracks that are alive; dead ones are dropped, since nothing can match them."""

    tracks: tuple[Track, ...] = ()
    """In the order of their ids."""
    frames: int = 0
    """Frames so far."""
    next_id: int = 1


def step(
    store: Store, objects: Observations, options: StoreOptions
) -> tuple[Store, Int[np.ndarray, " object"]]:
    """Give each object of the next frame the id of a track, old or new; there are no tentative tracks.

    Args:
        store: After the last frame; `Store()` before frame 0.
        objects: Of this frame, none or many.
        options: How they are matched.

    Returns:
        The store after this frame, and the track id of each object.
    """
    now = store.frames
    alive = [track for track in store.tracks if now - track.last <= options.patience]
    objects = Observations(objects.boxes, objects.classes, _unit(objects.embeddings))
    claims = {column: row for row, column in greedy(_similarity(alive, objects, options))}
    ids = np.zeros(len(objects.boxes), dtype=np.int64)
    next_id = store.next_id
    for column in range(len(ids)):
        observation = _row(objects, column)
        if column in claims:
            old = alive[claims[column]]
            alive[claims[column]] = Track(
                old.id, now, _joined(old.observations, observation, options.history)
            )
            ids[column] = old.id
        else:
            alive.append(Track(next_id, now, observation))
            ids[column], next_id = next_id, next_id + 1
    return Store(tuple(alive), now + 1, next_id), ids


def greedy(similarity: Similarity) -> list[tuple[int, int]]:
    """Pair rows with columns: the most similar pair first, then the next whose row and column are both free.

    Args:
        similarity: (row, column); -inf where a pair is forbidden. Of equal pairs the first row, then the first
            column, comes first.

    Returns:
        (row, column) of each pair, in the order in which they were made.
    """
    order = np.argsort(-similarity, axis=None, kind="stable")
    rows, columns = np.unravel_index(order[: int(np.isfinite(similarity).sum())], similarity.shape)
    free_rows, free_columns = np.ones(similarity.shape[0], bool), np.ones(similarity.shape[1], bool)
    pairs = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((row, column))
    return pairs


def _similarity(tracks: list[Track], objects: Observations, options: StoreOptions) -> Similarity:
    """A track is as similar to an object as its most similar allowed observation; -inf where none is allowed."""
    if not tracks or not len(objects.boxes):
        return np.zeros((len(tracks), len(objects.boxes)))
    known = _stacked([track.observations for track in tracks])
    overlap = box_iou(known.boxes, objects.boxes)
    overlap = np.where(overlap >= options.min_iou, overlap, 0.0)
    allowed: Bool[np.ndarray, "observation object"] = np.equal.outer(known.classes, objects.classes)
    if options.embeddings:
        cosine = known.embeddings @ objects.embeddings.T
        allowed &= cosine >= options.min_cosine
        similarity = (overlap + cosine) / 2
    else:
        allowed &= overlap > 0
        similarity = overlap
    counts = [len(track.observations.boxes) for track in tracks]
    starts = np.cumsum([0, *counts[:-1]])
    best: np.ndarray = np.maximum.reduceat(np.where(allowed, similarity, -np.inf), starts, axis=0)
    return best


def box_iou(first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of every pair of boxes xyxy; two boxes without area share nothing."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    result: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def _unit(vectors: Float[np.ndarray, "object dim"]) -> Float[np.ndarray, "object dim"]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _row(objects: Observations, index: int) -> Observations:
    part = slice(index, index + 1)
    return Observations(objects.boxes[part], objects.classes[part], objects.embeddings[part])


def _joined(old: Observations, new: Observations, length: int) -> Observations:
    both = _stacked([old, new])
    return Observations(both.boxes[-length:], both.classes[-length:], both.embeddings[-length:])


def _stacked(parts: list[Observations]) -> Observations:
    return Observations(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
    )
