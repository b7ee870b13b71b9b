"""Known scores of SOT, VOS and pose propagation, in which the targets are given in frame 0."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from unibench.geometry import masks as rle
from unibench.records import Labels, Rle, Tally, Truth
from unibench.tasks.known_answer_cases import Answers, Case, Expected, as_it_is, nothing

BEST_AUC = 20 / 21
"""Of the overlaps 0, 0.05, .. 1 a perfect box exceeds all but the last."""
PCK = tuple(f"PCK@0.{tenths}" for tenths in range(1, 6))


def _scored(truth: Truth) -> list[int]:
    return list(range(len(truth.labels)) if truth.scored is None else truth.scored)


def _count_sot(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    frames = _scored(truth)
    valid = [frame for frame in frames if _has_box(truth.labels[frame])]
    return {"clips": 1.0, "valid": len(valid) / len(frames), "given": (0 in valid) / len(frames)}


def _has_box(labels: Labels) -> bool:
    return len(labels.boxes) > 0 and bool((labels.boxes[0, 2:] > labels.boxes[0, :2]).all())


def _sot(success: str, place: str, sums: Tally) -> Expected:
    """Scores where a share `success` of the frames has the truth's box, and a share `place` its centre."""
    overlap, centre = sums[success] / sums["clips"], sums[place] / sums["clips"]
    return {"AUC": BEST_AUC * overlap, "SR.5": overlap, "P@20": centre, "NormP": centre}


def _lost_boxes(truth: Truth) -> list[Labels]:
    return [replace(labels, boxes=np.full_like(labels.boxes, np.nan)) for labels in truth.labels]


def _points(truth: Truth) -> list[Labels]:
    """The truth's boxes shrunk to their centres."""
    centres = [(labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2 for labels in truth.labels]
    return [
        replace(labels, boxes=np.tile(centre, 2))
        for labels, centre in zip(truth.labels, centres, strict=True)
    ]


_SOT = Answers(
    _count_sot,
    (
        Case("truth", as_it_is, lambda sums: _sot("valid", "valid", sums)),
        Case("empty", nothing, lambda sums: _sot("given", "given", sums)),
        Case("lost (NaN)", _lost_boxes, lambda sums: _sot("given", "given", sums)),
        Case("points", _points, lambda sums: _sot("given", "valid", sums)),
    ),
    (
        "overlap 1 is never exceeded (the threshold is strict), so the best AUC is 20/21 = 0.952",
        "frame 0 is given and counts, so an empty prediction has 1 frame of each clip right",
        "a frame whose truth has no box with an area fails, whatever is predicted",
        "points: a box without an area overlaps nothing, but its centre may be right",
    ),
)


def _count_vos(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    """Sums over objects of mean and decay of what an empty or a swapped prediction has right, frame by frame."""
    scored = _scored(truth)
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
    for frame in _scored(truth):
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
    names = truth.labels[_scored(truth)[0]].ids
    return dict(zip(names.tolist(), np.roll(names, -1).tolist(), strict=True))


_VOS = Answers(
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


def _pck(value: float) -> Expected:
    return dict.fromkeys(PCK, value)


def _lost_joints(truth: Truth) -> list[Labels]:
    """The truth, with every joint lost in every second frame."""
    return [
        replace(labels, keypoints=np.full_like(labels.keypoints, np.nan)) if frame % 2 == 0 else labels
        for frame, labels in enumerate(truth.labels)
    ]


_POSE = Answers(
    lambda truth, prediction: {},
    (
        Case("truth", as_it_is, lambda _: _pck(1.0)),
        Case("empty", nothing, lambda _: _pck(0.0)),
        Case("half lost (NaN)", _lost_joints, lambda _: _pck(1.0)),
    ),
    ("a joint that is said to be lost (NaN or x < 0) does not count: the published rule",),
)

PROMPTED: dict[str, Answers] = {"sot": _SOT, "vos": _VOS, "pose": _POSE}
