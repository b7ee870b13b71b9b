"""Known scores of VOS."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from unibench.geometry import masks as rle
from unibench.records import Labels, Rle, Tally, Truth
from unibench.tasks.known_answers import Answers, Case, Expected, as_it_is, nothing, scored_frames


def _count_vos(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    """Sums over objects of mean and decay of what an empty or a swapped prediction has right, frame by frame."""
    scored = scored_frames(truth)
    kept = scored[1:-1]  # the first is given, the last is not scored
    given = {name: frame for name, frame in _given(truth).items() if frame < kept[-1]}
    hidden, flat, both = {}, {}, {}
    before = {there: here for here, there in _following(truth).items()}
    for name, start in given.items():
        frames = [frame for frame in kept if frame > start]
        masks = [_mask(truth.labels[frame], name) for frame in frames]
        others = [_mask(truth.labels[frame], before.get(name, name)) for frame in frames]
        hidden[name] = np.array([not _area(mask) for mask in masks])
        flat[name] = np.array([not _outlined(mask) for mask in masks])
        alone = before.get(name, name) == name
        both[name] = hidden[name] & np.array([not _area(mask) for mask in others]) | alone
    sums = {"objects": float(len(given))}
    for what, curves in {"hidden": hidden, "flat": flat, "both": both}.items():
        sums[f"{what}-mean"] = float(sum(curve.mean() for curve in curves.values()))
        sums[f"{what}-decay"] = float(sum(_decay(curve) for curve in curves.values()))
    return sums


def _given(truth: Truth) -> dict[int, int]:
    """Object -> the scored frame in which it is first seen, and given."""
    first: dict[int, int] = {}
    for frame in scored_frames(truth):
        for name in truth.labels[frame].ids.tolist():
            first.setdefault(name, frame)
    return first


def _mask(labels: Labels, name: int) -> Rle | None:
    rows = np.flatnonzero(labels.ids == name)
    return labels.masks[rows[0]] if len(rows) else None


def _area(mask: Rle | None) -> int:
    return rle.area(mask) if mask else 0


def _outlined(mask: Rle | None) -> bool:
    """Whether a mask has a contour: it is neither empty nor the whole frame."""
    return mask is not None and 0 < rle.area(mask) < mask["size"][0] * mask["size"][1]


def _decay(curve: Bool[np.ndarray, " frame"]) -> float:
    """Mean of the first quarter less mean of the last; the quarters share their ends."""
    ends = [int(np.floor(1 + (len(curve) - 1) * quarter / 4 + 0.5)) for quarter in range(5)]  # from 1
    first, last = curve[ends[0] - 1 : ends[1]], curve[ends[3] - 1 : ends[4]]
    return float(first.mean() - last.mean())


def _vos(what_j: str, what_f: str, sums: Tally) -> Expected:
    """Scores that are 1 in the frames counted under these names, 0 elsewhere."""
    scores: dict[str, float] = {}
    for letter, what in (("J", what_j), ("F", what_f)):
        mean, decay = (sums[f"{what}-{name}"] / sums["objects"] for name in ("mean", "decay"))
        scores |= {f"{letter}-mean": mean, f"{letter}-recall": mean, f"{letter}-decay": decay}
    return {"J&F": (scores["J-mean"] + scores["F-mean"]) / 2, **scores}


def _vos_perfect(sums: Tally) -> Expected:
    ones = dict.fromkeys(("J&F", "J-mean", "J-recall", "F-mean", "F-recall"), 1.0)
    return {**ones, "J-decay": 0.0, "F-decay": 0.0}


def _vos_empty(sums: Tally) -> Expected:
    return _vos("hidden", "flat", sums)


def _vos_swapped(sums: Tally) -> Expected:
    unknown = dict.fromkeys(("J&F", "F-mean", "F-recall", "F-decay"))
    return {**_vos("both", "both", sums), **unknown}


def _blank(truth: Truth) -> list[Labels]:
    """Empty masks of all objects."""
    return [
        replace(labels, masks=tuple(rle.encode(np.zeros(mask["size"], dtype=bool)) for mask in labels.masks))
        for labels in truth.labels
    ]


def _swapped(truth: Truth) -> list[Labels]:
    following = _following(truth)
    return [
        replace(labels, ids=np.array([following.get(int(name), int(name)) for name in labels.ids], np.int64))
        for labels in truth.labels
    ]


def _following(truth: Truth) -> dict[int, int]:
    """Every object of the first scored frame -> the identity of the next; objects given later keep their own."""
    names = truth.labels[scored_frames(truth)[0]].ids
    return dict(zip(names.tolist(), np.roll(names, -1).tolist(), strict=True))


KNOWN_ANSWERS = Answers(
    _count_vos,
    (
        Case("truth", as_it_is, _vos_perfect),
        Case("empty", nothing, _vos_empty),
        Case("blank masks", _blank, _vos_empty),
        Case("swapped", _swapped, _vos_swapped),
    ),
    (
        "frame 0 is given and the last frame is not scored; an object out of sight is right where nothing is "
        "predicted, so an empty prediction scores the share of such frames",
        "swapped: every object of the first frame has the next one's identity, so J is right only where both are "
        "out of sight (and where there is but one object); F is not demanded, as contours of neighbours may touch",
    ),
)
