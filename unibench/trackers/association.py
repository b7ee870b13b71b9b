"""MOT, MOTS and PoseTrack: the objects that a detector has found are given identities."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from heads import rsm
from heads.associate import CascadeState, step
from unibench.models import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.trackers.observations import AssociationOptions, Observed, observe, select

__all__ = ["AssociationOptions", "track"]


def track(
    clip: Clip, model: FrozenModel, layers: Sequence[str], options: AssociationOptions
) -> Iterator[dict[str, Labels]]:
    """Give identities to the detections of every frame, one pass of the network a frame for all layers.

    Args:
        clip: Its frames bring the detections. Ids start at 1 in every clip.
        model: What the detections are compared with.
        layers: Layers of the model; each tracks on its own.
        options: The protocol.

    Yields:
        For each frame and layer, the detections of confirmed tracks: those fields that the detections have, and
        ids. Frames without any give empty labels.

    Raises:
        DataError: The detections are not of the kind that `options.observation` names.

    Reference:
        "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.3.
    """
    states = {layer: CascadeState() for layer in layers}
    for frame in clip.frames():
        written = {}
        for layer, observed in observe(frame, model, layers, options).items():
            states[layer], written[layer] = _advance(states[layer], frame, observed, clip.fps, options)
        yield written


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
