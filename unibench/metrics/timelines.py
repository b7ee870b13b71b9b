"""How good a prediction is frame by frame."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from unibench.errors import DataError, TrackerError
from unibench.geometry import masks
from unibench.geometry.boxes import paired_iou
from unibench.metrics import detection, mot, pck, points, posetrack
from unibench.metrics.association import Pairing, clear_events
from unibench.metrics.counts import scored_frames
from unibench.records import Labels, Rle, Truth


@dataclass(frozen=True)
class Timeline:
    """A score of every frame of a clip."""

    name: str
    values: tuple[float | None, ...]
    """0 to 1, one a frame; None where nothing is scored."""
    words: tuple[str, ...]
    """What was counted in each frame; empty texts where the value says it all."""
    events: tuple[tuple[int, str], ...] = field(default=())
    """Frame and what happens in it, such as a switch of identities."""
    missed: tuple[tuple[int, ...], ...] = ()
    """True identities that nothing was matched with, one tuple a frame; empty where a prompt says who is followed."""


Score = Callable[[Truth, Sequence[Labels]], Timeline]


def timeline(family: str, truth: Truth, prediction: Sequence[Labels]) -> Timeline | None:
    """Score every frame.

    Args:
        family: Of the task, `sot`.
        truth: Of the clip.
        prediction: Of as many frames.

    Returns:
        The timeline; None where a frame alone has no score.
    """
    return SCORES[family](truth, prediction) if family in SCORES else None


def _overlap(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
    values: list[float | None] = [None] * len(prediction)
    for t in scored_frames(truth, prediction):
        true, said = truth.labels[t].boxes[:1], prediction[t].boxes[:1]
        if len(true) and np.all(true[:, 2:] > true[:, :2]):  # False where it is NaN
            values[t] = float(paired_iou(true.astype(float), said.astype(float))[0]) if len(said) else 0.0
    return Timeline("IoU", tuple(values), ("",) * len(values))


def _region(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
    given: dict[int, int] = {}
    values: list[float | None] = [None] * len(prediction)
    words = [""] * len(prediction)
    for t in scored_frames(truth, prediction):
        labels = truth.labels[t]
        true = dict(zip(labels.ids.tolist(), labels.masks, strict=True))
        said = dict(zip(prediction[t].ids.tolist(), prediction[t].masks, strict=True))
        of_objects = {one: _j(true.get(one), said.get(one)) for one in given}
        given |= {one: t for one in true if one not in given}
        if of_objects:
            values[t] = sum(of_objects.values()) / len(of_objects)
            words[t] = ", ".join(f"object {one}: {value:.2f}" for one, value in of_objects.items())
    return Timeline("J", tuple(values), tuple(words))


def _j(true: Rle | None, said: Rle | None) -> float:
    there = [mask for mask in (true, said) if mask is not None and masks.area(mask)]
    return float(masks.iou(there[:1], there[1:])[0, 0]) if len(there) == 2 else float(not there)


def _joints(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
    values: list[float | None] = [None] * len(prediction)
    for t in scored_frames(truth, prediction):
        if t:  # frame 0 is given
            alone = replace(truth, labels=(truth.labels[0], truth.labels[t]), ignored=(), scored=None)
            try:
                values[t] = float(pck.pool([pck.tally(alone, [prediction[0], prediction[t]])])["PCK@0.2"])
            except (DataError, TrackerError):  # no joint counts in this frame
                continue
    return Timeline("PCK@0.2", tuple(values), ("",) * len(values))


def _points(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
    """AJ of each frame alone; a visible point that is called occluded, or is nowhere near, is missed."""
    values: list[float | None] = [None] * len(prediction)
    words = [""] * len(prediction)
    missed: list[tuple[int, ...]] = [()] * len(prediction)
    ids = truth.labels[0].ids
    true, visible = points.tracks(truth.labels, ids, "truth")
    said, shown = points.tracks(prediction, ids, "prediction")
    counted = points.evaluated(visible, truth.queries)
    assert truth.size is not None
    scale = points.RASTER / np.array(truth.size[::-1])
    far = ~(np.linalg.norm((said - true) * scale, axis=2) < points.THRESHOLDS[-1])  # True where it is NaN
    for t in scored_frames(truth, prediction):
        frame, here = (slice(None), slice(t, t + 1)), counted[:, t]
        one = points.scores(
            true[frame] * scale, visible[frame], said[frame] * scale, shown[frame], counted[frame]
        )
        values[t] = None if np.isnan(one["AJ"]) else float(one["AJ"])
        lost = here & visible[:, t] & (far[:, t] | ~shown[:, t])
        wrong = int((here & ~visible[:, t] & shown[:, t]).sum())
        if here.any():
            words[t] = (
                f"points: {int((here & visible[:, t]).sum())} visible, {int(lost.sum())} missed, {wrong} false"
            )
        missed[t] = tuple(ids[lost].tolist())
    return Timeline("AJ", tuple(values), tuple(words), missed=tuple(missed))


def _association(pairings: Callable[[Truth, Sequence[Labels]], list[list[Pairing]]], what: str) -> Score:
    def score(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
        values: list[float | None] = [None] * len(prediction)
        words, events = [""] * len(prediction), []
        missed: list[tuple[int, ...]] = [()] * len(prediction)
        frames = scored_frames(truth, prediction)
        of_classes = [clear_events(one) for one in pairings(truth, prediction)]
        for t, found in zip(frames, zip(*of_classes, strict=True), strict=True):
            hits, misses, alarms = (
                sum(getattr(one, name) for one in found) for name in ("matches", "misses", "false_alarms")
            )
            switches = list(dict.fromkeys(chain.from_iterable(one.switches for one in found)))
            values[t] = hits / total if (total := hits + misses + alarms) else None
            words[t] = f"{what}: {hits} matched, {misses} missed, {alarms} false" + (
                f", {len(switches)} switched" if switches else ""
            )
            events += [(t, f"object {one}: id {before} becomes {after}") for one, before, after in switches]
            missed[t] = tuple(dict.fromkeys(chain.from_iterable(one.missed for one in found)))
        return Timeline("match rate", tuple(values), tuple(words), tuple(events), tuple(missed))

    return score


def _detections(truth: Truth, prediction: Sequence[Labels]) -> Timeline:
    """Of each class from the score on that is best for F1; an event is a frame with more misses or false alarms than
    the one before.
    """
    values: list[float | None] = [None] * len(prediction)
    words, events = [""] * len(prediction), []
    before, lowest = detection.FrameCounts(0, 0, 0), detection.best_scores(truth, prediction)
    for t, found in detection.count_frames(truth, prediction, lowest).items():
        total = found.hits + found.misses + found.false_alarms
        values[t] = found.hits / total if total else None
        words[t] = f"objects: {found.hits} matched, {found.misses} missed, {found.false_alarms} false"
        for what, now, then in (
            ("misses", found.misses, before.misses),
            ("false alarms", found.false_alarms, before.false_alarms),
        ):
            events += [(t, f"{what}: {then} before, {now} here")] if now > then else []
        before = found
    return Timeline("match rate at best F1", tuple(values), tuple(words), tuple(events))


SCORES: dict[str, Score] = {
    "sot": _overlap,
    "vos": _region,
    "pose": _joints,
    "points": _points,
    "det": _detections,
    "mot": _association(mot.box_pairings, "objects"),
    "mots": _association(mot.mask_pairings, "objects"),
    "posetrack": _association(posetrack.joint_pairings, "joints"),
}
"""Family -> how its frames are scored."""


def rounded(values: Sequence[float | None]) -> list[float | None]:
    """The values with three decimals, None where they are not finite."""
    return [None if one is None or not math.isfinite(one) else round(one, 3) for one in values]
