"""MOT, MOTS and PoseTrack: the objects that a detector has found are given identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from heads import rsm
from heads.associate import CascadeState, step
from unibench.features.batching import Steps
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.association.observations import (
    AssociationOptions,
    Grid,
    Observed,
    network_input,
    observe,
    select,
)

__all__ = ["AssociationOptions", "track"]


@dataclass(frozen=True, eq=False)
class _State:
    """What is known after a frame of a clip; each layer tracks on its own."""

    options: AssociationOptions
    fps: float
    grids: Mapping[str, Grid]
    cascades: Mapping[str, CascadeState]


def _begin(clip: Clip, model: FrozenModel, layers: Sequence[str], options: AssociationOptions) -> _State:
    grids = {layer: Grid(model.strides[layer], model.offsets[layer]) for layer in layers}
    return _State(options, clip.fps, grids, {layer: CascadeState() for layer in layers})


def _track(state: _State, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[_State, dict[str, Labels]]:
    cascades, written = {}, {}
    for layer, observed in observe(frame, maps, state.grids, state.options).items():
        cascades[layer], written[layer] = _advance(
            state.cascades[layer], frame, observed, state.fps, state.options
        )
    return replace(state, cascades=cascades), written


track = Steps(network_input, _begin, _track)
"""Give identities to the detections that the frames of a clip bring; ids start at 1 in every clip.

For each frame and layer, it yields the detections of confirmed tracks: those fields that the detections have, and ids.
Frames without any give empty labels. A DataError says that detections are not of the kind that `options.observation`
names.

Reference:
    "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.3.
"""


def _advance(
    state: CascadeState, frame: Frame, observed: Observed, fps: float, options: AssociationOptions
) -> tuple[CascadeState, Labels]:
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


def _plausible(labels: Labels, boxes: Float[np.ndarray, "object 4"], options: AssociationOptions) -> Labels:
    """With these boxes, and without those that are too small or too wide for a pedestrian."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    rows = np.flatnonzero((width * height > options.min_area) & (width <= options.max_aspect * height))
    if not len(rows):
        return Labels()
    return select(labels, rows, labels.ids[rows], boxes=boxes)
