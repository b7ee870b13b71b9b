"""Why a score is what it is: events by frame, what makes clips hard, what association owes to motion and to looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from unibench.evaluation.score_again import load_clip, predicted_of
from unibench.geometry import boxes, masks
from unibench.metrics import attributes, timelines
from unibench.metrics.association import MATCH
from unibench.records import Clip, Labels, Tally, Truth
from unibench.results import store
from unibench.results.store import ClipResult, RunKey
from unibench.tasks import registry
from unibench.tasks.family import Task

LOST = 5
"""Frames in which nothing overlaps, after which a single target is called lost."""
DRIFT = 0.5
"""J of a clip below which, to its end, a mask is called drifted."""
OFTEN = 0.1
"""Share of objects and frames from which on a clip counts as one with an attribute."""
MOTION, APPEARANCE = "bytetrack", "appearance-only"
"""Protocols that leave one cue out."""


@dataclass(frozen=True)
class Explained:
    """One clip."""

    clip: str
    score: float
    """The headline metric of this clip alone."""
    attributes: Mapping[str, float]
    """See `attributes.shares`."""
    events: tuple[tuple[int, str], ...]
    """Frame and what happens there, in the order of the frames."""


@dataclass(frozen=True)
class ByAttribute:
    """Scores of the clips with an attribute, and of those without."""

    name: str
    having: int
    """How many clips have it."""
    score: float
    """Of these, pooled; NaN if there are none."""
    other: float
    """Of the others."""


def explain(out: Path, run: RunKey, data: Path | None) -> list[Explained]:
    """Explain the clips of a run, the worst first.

    Args:
        out: Root folder of the results.
        run: One of the results there.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.

    Raises:
        UnibenchError: Predictions are missing or damaged, or the data are not those of the run.
    """
    task = registry.find(run.task)
    found = []
    for one in store.read_clips(out, run):
        clip, truth = load_clip(one, task, data)
        with predicted_of(out, one) as predicted:
            happened = events(task.family.name, truth, predicted)
        alone = float(task.family.scoring.pool([one.tally])[task.headline])
        found.append(Explained(one.key.clip, alone, attributes.shares(clip, truth), tuple(happened)))
    return sorted(found, key=lambda one: (not np.isnan(one.score), one.score, one.clip))


def events(family: str, truth: Truth, prediction: Sequence[Labels]) -> list[tuple[int, str]]:
    """List what goes wrong in a clip: switches of identities, misses, lost targets, drifted masks.

    Args:
        family: Of the task.
        truth: Of the clip.
        prediction: Of as many frames.
    """
    line = timelines.timeline(family, truth, prediction)
    if line is None:
        return []
    found = [*line.events, *_misses(line.missed)]
    if family == "sot":
        found += _lost(line.values)
    elif family == "vos":
        found += _drifted(line.values)
    return sorted(found, key=lambda one: one[0])


def _misses(missed: Sequence[Sequence[int]]) -> list[tuple[int, str]]:
    """Runs of frames in which an object has no match."""
    began: dict[int, int] = {}
    found = []
    for t, ids in enumerate([*missed, ()]):
        for one in [one for one in began if one not in ids]:
            start = began.pop(one)
            until = f" until frame {t - 1}" if t - 1 > start else ""
            found.append((start, f"object {one} is missed{until}"))
        began |= {one: t for one in ids if one not in began}
    return found


def _lost(values: Sequence[float | None]) -> list[tuple[int, str]]:
    found, start = [], None
    for t, value in enumerate([*values, 1.0]):
        if value == 0 and start is None:
            start = t
        elif value and start is not None:
            if t - start >= LOST:
                found.append((start, f"the target is lost until frame {t - 1}"))
            start = None
    return found


def _drifted(values: Sequence[float | None]) -> list[tuple[int, str]]:
    """The frame from which on J stays low."""
    known = [(t, value) for t, value in enumerate(values) if value is not None]
    good = [t for t, value in known if value >= DRIFT]
    after = [t for t, _ in known if not good or t > good[-1]]
    return [(after[0], f"the masks drift: J is below {DRIFT} from here on")] if after else []


def has(shares: Mapping[str, float], name: str) -> bool:
    """Whether a clip with these shares (`attributes.shares`) counts as one with an attribute."""
    return shares.get(name, 0.0) >= OFTEN


def by_attribute(task: Task, found: Sequence[Explained], clips: Sequence[ClipResult]) -> list[ByAttribute]:
    """Pool the clips with and without each attribute.

    Args:
        task: Says how clips are pooled.
        found: From `explain`.
        clips: The run's.
    """
    tallies = {one.key.clip: one.tally for one in clips}

    def pooled(some: Sequence[Explained]) -> float:
        found: Sequence[Tally] = [tallies[one.clip] for one in some]
        return float(task.family.scoring.pool(found)[task.headline]) if found else float("nan")

    rows = []
    for name in attributes.NAMES:
        having = [one for one in found if has(one.attributes, name)]
        others = [one for one in found if one not in having]
        if any(one.attributes for one in found):
            rows.append(ByAttribute(name, len(having), pooled(having), pooled(others)))
    return rows


def perfect_association(task: Task, clips: Sequence[ClipResult], data: Path | None) -> Mapping[str, float]:
    """Score the given detections with the identities of the truth that they overlap: the best that can be had of them.

    Args:
        task: Of family `mot` or `mots`, with detections.
        clips: Of a run of it.
        data: As for `explain`.
    """
    root, tallies = registry.folder(task, data), []
    for one in clips:
        clip, truth = registry.load_clip(task, root, one.key.clip, one.frames if one.partial else None)
        tallies.append(task.family.scoring.tally(truth, list(_identified(clip, truth))))
    return task.family.scoring.pool(tallies)


def _identified(clip: Clip, truth: Truth) -> list[Labels]:
    """Detections with the true ids; those that overlap nothing get ids of their own."""
    fresh = 1 + max((int(one) for labels in truth.labels for one in labels.ids), default=0)
    told = []
    for frame, labels in zip(clip.frames(), truth.labels, strict=True):
        found = frame.detections
        count = max(len(found.boxes), len(found.masks))
        overlap = (
            masks.iou(labels.masks, found.masks) if found.masks else boxes.iou(labels.boxes, found.boxes)
        )
        if len(labels.classes) and len(found.classes):
            overlap = np.where(labels.classes[:, None] == found.classes, overlap, 0.0)
        ids = np.arange(fresh, fresh + count)
        fresh += count
        for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[row, column] >= MATCH:
                ids[column] = labels.ids[row]
        told.append(
            Labels(ids=ids, boxes=found.boxes, masks=found.masks, scores=found.scores, classes=found.classes)
        )
    return told
