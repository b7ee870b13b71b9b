"""MOT, MOTS and PoseTrack: the objects that a detector has found are given identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from heads import rsm
from heads.associate import CascadeState, Observation, step
from heads.bytetrack import ByteTrack, plausible
from heads.qdtrack import QDTrack
from unibench.features.batching import Steps
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.association.observations import (
    AssociationOptions,
    Grid,
    Observed,
    classes,
    network_input,
    observe,
    scores,
    select,
)

__all__ = ["AssociationOptions", "track"]


@dataclass(frozen=True, eq=False)
class _State:
    """What is known after a frame of a clip; each layer tracks on its own."""

    options: AssociationOptions
    fps: float
    grids: Mapping[str, Grid]
    links: Mapping[str, CascadeState | QDTrack]
    motion: ByteTrack
    """Of all layers, where none is looked at."""


def _begin(clip: Clip, model: FrozenModel, layers: Sequence[str], options: AssociationOptions) -> _State:
    grids = {layer: Grid(model.strides[layer], model.offsets[layer]) for layer in layers}
    start = CascadeState() if options.qdtrack is None else QDTrack(options.qdtrack)
    motion = ByteTrack(options.bytetrack.for_clip(clip.name)) if options.bytetrack else ByteTrack()
    return _State(options, clip.fps, grids, dict.fromkeys(layers, start), motion)


def _track(state: _State, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[_State, dict[str, Labels]]:
    if state.options.bytetrack is not None:
        motion, labels = _by_motion(state.motion, frame, state.options)
        return replace(state, motion=motion), dict.fromkeys(state.grids, labels)
    links, written = {}, {}
    for layer, observed in observe(frame, maps, state.grids, state.options).items():
        links[layer], written[layer] = _advance(state.links[layer], frame, observed, state.fps, state.options)
    return replace(state, links=links), written


track = Steps(network_input, _begin, _track)
"""Give identities to the detections that the frames of a clip bring; ids start at 1 in every clip.

For each frame and layer, it yields the detections of confirmed tracks: those fields that the detections have, and ids.
Frames without any give empty labels. A DataError says that detections are not of the kind that `options.observation`
names.

Reference:
    "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.3.
"""


def _by_motion(motion: ByteTrack, frame: Frame, options: AssociationOptions) -> tuple[ByteTrack, Labels]:
    score, found = scores(frame, options), frame.detections
    rows = np.flatnonzero(score >= options.min_score)
    boxes = found.boxes.reshape(-1, 4).copy()
    motion, ids, boxes[rows] = motion.step(boxes[rows], score[rows], classes(frame)[rows])
    kept = np.flatnonzero(ids)
    kept = kept[plausible(boxes[rows[kept]], motion.options)]
    return motion, select(found, rows[kept], ids[kept], boxes=boxes) if len(kept) else Labels()


def _advance(
    state: CascadeState | QDTrack, frame: Frame, observed: Observed, fps: float, options: AssociationOptions
) -> tuple[CascadeState | QDTrack, Labels]:
    if isinstance(state, QDTrack):
        state, ids = _by_embedding(state, observed.observations)
        rows, ids = observed.rows[ids > 0], ids[ids > 0]
        labels = select(frame.detections, rows, ids) if len(rows) else Labels()
        plain = options.observation == "box" and len(rows) > 0
        return state, _plausible(labels, labels.boxes, options) if plain else labels
    similarity = partial(rsm.similarity, variant=options.rsm)
    state, ids = step(state, observed.observations, similarity, options.cascade, fps)
    if not ids.any():
        return state, Labels()
    rows, ids = observed.rows[ids > 0], ids[ids > 0]
    labels = select(frame.detections, rows, ids)
    if options.observation != "box":
        return state, labels
    filtered = {track.id: track.box for track in state.tracked}
    boxes = np.stack([filtered[id] for id in ids]) if options.write == "kalman" else labels.boxes
    return state, _plausible(labels, boxes, options)


def _by_embedding(
    state: QDTrack, observations: Sequence[Observation]
) -> tuple[QDTrack, Int[np.ndarray, " observation"]]:
    looks = [functional.normalize(one.points.double().mean(dim=0), dim=0).cpu() for one in observations]
    return state.step(
        np.array([one.box for one in observations]).reshape(-1, 4),
        np.array([one.score for one in observations]),
        np.array([one.label for one in observations], dtype=np.int64),
        torch.stack(looks).numpy() if looks else np.zeros((0, 0)),
    )


def _plausible(labels: Labels, boxes: Float[np.ndarray, "object 4"], options: AssociationOptions) -> Labels:
    """With these boxes, and without those that are too small or too wide for a pedestrian."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    rows = np.flatnonzero((width * height > options.min_area) & (width <= options.max_aspect * height))
    if not len(rows):
        return Labels()
    return select(labels, rows, labels.ids[rows], boxes=boxes)
