"""Known scores of MOT, MOTS and PoseTrack, in which identities must hold over time."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int
from pycocotools import mask as coco

from unibench.geometry import boxes, masks
from unibench.records import EXCUSED, Labels, Tally, Truth
from unibench.tasks.association.track_counts import Pair, count_tracks
from unibench.tasks.known_answers import Answers, Case, Expected, as_it_is, nothing

FRACTIONS = ("IDF1", "HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDP", "IDR", "DetRe", "DetPr", "AssRe", "AssPr",
             "LocA")  # fmt: skip
COUNTS = ("IDSW", "MT", "PT", "ML", "FP", "FN", "Frag")
OF_MOTMETRICS = ("MOTA", "IDF1", "IDP", "IDR", "IDSW", "MT", "PT", "ML", "FP", "FN")
OF_JOINTS = ("IDF1", "MOTA", "MOTP", "precision", "recall", "HOTA", "DetA", "AssA")
REACH = 0.5001
"""Distance in head sizes within which joints of two persons are alike to some metric of PoseTrack."""
Touch = Callable[[Truth, int], Bool[np.ndarray, "object object"]]
"""Which objects of one frame are alike to the metric, be it a little; the diagonal is not read."""


def _count_objects(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    frames = range(len(truth.labels)) if truth.scored is None else truth.scored
    return count_tracks([_pairs(truth.labels[frame], prediction[frame]) for frame in frames])


def _pairs(true: Labels, predicted: Labels) -> list[Pair]:
    kinds = true.classes.tolist() or [0] * len(true.ids)
    names = predicted.ids.tolist() or [None] * len(true.ids)
    return [
        ((kind, track), None if name is None else (kind, name))
        for kind, track, name in zip(kinds, true.ids.tolist(), names, strict=True)
    ]


def _count_joints(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    """The counts of every joint, `<joint>/<count>`, with the clip's own `IDF1` and `clips` where it is defined."""
    frames = range(len(truth.labels)) if truth.scored is None else truth.scored
    kept = [frame for frame in frames if len(truth.labels[frame].ids)][:-1]
    there = [_has_joint(truth, frame) for frame in kept]
    sums: dict[str, float] = {}
    for joint in range(there[0].shape[1] if there else 0):
        pairs = [_pairs(truth.labels[frame], prediction[frame]) for frame in kept]
        labelled = [
            [one for one, has in zip(frame, mask[:, joint], strict=True) if has]
            for frame, mask in zip(pairs, there, strict=True)
        ]
        counts = count_tracks(labelled)
        objects = counts["objects"]
        counts |= {"IDF1": counts["idtp"] / max(1.0, objects), "clips": float(objects > 0)}
        sums |= {f"{joint}/{name}": count for name, count in counts.items()}
    return sums


def _has_joint(truth: Truth, frame: int) -> Bool[np.ndarray, "person joint"]:
    """Joints that are labelled, and not within an ignored region."""
    keypoints = truth.labels[frame].keypoints
    there: Bool[np.ndarray, "person joint"] = keypoints[..., 2] > 0
    ignored = truth.ignored[frame] if truth.ignored else Labels()
    regions = [mask for mask, kind in zip(ignored.masks, ignored.classes, strict=True) if kind == EXCUSED]
    if regions:
        region = masks.decode(coco.merge(regions))
        for person, joint in np.argwhere(there):
            column, row = np.floor(keypoints[person, joint, :2]).astype(int)
            inside = 0 <= row < region.shape[0] and 0 <= column < region.shape[1]
            there[person, joint] = not (inside and region[row, column])
    return there


def _perfect(sums: Tally) -> dict[str, float]:
    ones, zeros = dict.fromkeys(FRACTIONS, 1.0), dict.fromkeys(COUNTS, 0.0)
    return ones | zeros | {"MT": sums["tracks"], "Frag": sums["gaps"]}


def _silent(sums: Tally) -> dict[str, float]:
    zeros = dict.fromkeys(FRACTIONS + COUNTS, 0.0)
    return zeros | {"LocA": 1.0, "FN": sums["objects"], "ML": sums["tracks"]}


def _mixed(sums: Tally) -> dict[str, float]:
    """Detection is perfect; association is what the counts say."""
    objects = sums["objects"]
    associated = {name: sums[name] / objects for name in ("AssA", "AssRe", "AssPr")}
    kept = dict.fromkeys(("IDF1", "IDP", "IDR"), sums["idtp"] / objects)
    switches = {"IDSW": sums["switches"], "MOTA": 1 - sums["switches"] / objects}
    return _perfect(sums) | associated | kept | switches | {"HOTA": associated["AssA"] ** 0.5}


def _of_boxes(expect: Callable[[Tally], dict[str, float]]) -> Callable[[Tally], Expected]:
    """The same with motmetrics' columns, in which a gap in the truth is no fragmentation."""

    def both(sums: Tally) -> Expected:
        scores = expect(sums)
        more = {f"motmetrics:{name}": scores[name] for name in OF_MOTMETRICS}
        return {**scores, **more, "motmetrics:Frag": 0.0}

    return both


def _of_masks(expect: Callable[[Tally], dict[str, float]]) -> Callable[[Tally], Expected]:
    """The same under the names of masks; all overlaps are whole, so sMOTSA is MOTSA."""
    names = {"MOTA": "MOTSA", "MOTP": "MOTSP"}

    def renamed(sums: Tally) -> Expected:
        scores = {names.get(name, name): value for name, value in expect(sums).items()}
        return {**scores, "sMOTSA": scores["MOTSA"]}

    return renamed


def _joints_mixed(sums: Tally) -> Expected:
    """Means over the joints that the truth labels; IDF1 is a mean over clips before."""
    joints = sorted({key.partition("/")[0] for key in sums})
    counts = [
        {key.partition("/")[2]: sums[key] for key in sums if key.startswith(f"{one}/")} for one in joints
    ]
    scored = [one for one in counts if one["objects"]]
    associated = [one["AssA"] / one["objects"] for one in scored]
    of_joints = {
        "IDF1": [one["IDF1"] / one["clips"] for one in scored],
        "MOTA": [1 - one["switches"] / one["objects"] for one in scored],
        "AssA": associated,
        "HOTA": [share**0.5 for share in associated],
    }
    means = {name: float(np.mean(values)) for name, values in of_joints.items()}
    return dict.fromkeys(OF_JOINTS, 1.0) | means | {"IDSW": sum(one["switches"] for one in scored)}


def _permuted(truth: Truth) -> list[Labels]:
    """The truth with other identities, the same over the whole clip."""
    names = _names(truth)
    others = np.random.default_rng(0).permutation(len(names)) + max(names, default=0) + 1
    return [
        replace(labels, ids=others[np.searchsorted(names, labels.ids)].astype(np.int64))
        for labels in truth.labels
    ]


def _redrawn(truth: Truth) -> list[Labels]:
    """The truth with identities drawn anew in every frame, out of one more than there are."""
    generator, known = np.random.default_rng(0), len(_names(truth)) + 1
    return [
        replace(labels, ids=generator.permutation(known)[: len(labels.ids)].astype(np.int64))
        for labels in truth.labels
    ]


def _names(truth: Truth) -> list[int]:
    return sorted({int(name) for labels in truth.labels for name in labels.ids})


def _apart(touch: Touch) -> Callable[[Truth], Truth]:
    """Keep only tracks that never touch another one that is kept, long ones first: then each can match but itself."""

    def part(truth: Truth) -> Truth:
        lengths = Counter(int(name) for labels in truth.labels for name in labels.ids)
        rivals: set[tuple[int, int]] = set()
        for frame, labels in enumerate(truth.labels):
            near = touch(truth, frame)
            rivals |= {
                (int(labels.ids[a]), int(labels.ids[b])) for a, b in np.argwhere(near | near.T) if a != b
            }
        kept: list[int] = []
        for name in sorted(lengths, key=lambda name: (-lengths[name], name)):
            if not any((name, other) in rivals for other in kept):
                kept.append(name)
        rows = [np.flatnonzero(np.isin(labels.ids, kept)) for labels in truth.labels]
        thinned = tuple(_rows(*pair) for pair in zip(truth.labels, rows, strict=True))
        scales = tuple(sizes[row] for sizes, row in zip(truth.scales, rows, strict=bool(truth.scales)))
        return replace(truth, labels=thinned, scales=scales)

    return part


def _rows(labels: Labels, rows: Int[np.ndarray, " kept"]) -> Labels:
    return Labels(
        ids=labels.ids[rows],
        boxes=labels.boxes[rows] if len(labels.boxes) else labels.boxes,
        masks=tuple(labels.masks[row] for row in rows) if labels.masks else (),
        keypoints=labels.keypoints[rows] if len(labels.keypoints) else labels.keypoints,
        classes=labels.classes[rows] if len(labels.classes) else labels.classes,
    )


def _near_joints(truth: Truth, frame: int) -> Bool[np.ndarray, "person person"]:
    keypoints = truth.labels[frame].keypoints
    offsets = keypoints[:, None, :, :2] - keypoints[None, :, :, :2]
    labelled = (keypoints[:, None, :, 2] > 0) & (keypoints[None, :, :, 2] > 0)
    distances = np.where(labelled, np.hypot(offsets[..., 0], offsets[..., 1]), np.inf)
    near: Bool[np.ndarray, "person person"] = (
        distances.min(axis=2, initial=np.inf) < REACH * truth.scales[frame][:, None]
    )
    return near


def _cases(
    touch: Touch, perfect: Callable[[Tally], Expected], silent: Callable[[Tally], Expected],
    mixed: Callable[[Tally], Expected],
) -> tuple[Case, ...]:  # fmt: skip
    return (
        Case("truth", as_it_is, perfect),
        Case("empty", nothing, silent),
        Case("permuted", _permuted, perfect),
        Case("redrawn", _redrawn, mixed, _apart(touch)),
    )


_REDRAWN = (
    "redrawn: identities are drawn anew in every frame; scored on tracks that never touch one another, so that "
    "detection stays perfect and IDSW, IDF1 and AssA can be counted"
)
_SILENT = (
    "LocA is 1 where nothing matches, and a track that leaves and comes back is a Frag (TrackEval's rules)"
)

MOT = Answers(
    _count_objects,
    _cases(
        lambda truth, frame: boxes.iou(truth.labels[frame].boxes, truth.labels[frame].boxes) > 0,
        *map(_of_boxes, (_perfect, _silent, _mixed)),
    ),
    (_SILENT, "motmetrics counts no Frag where the truth has the gap", _REDRAWN),
)
MOTS = Answers(
    _count_objects,
    _cases(
        lambda truth, frame: masks.iou(truth.labels[frame].masks, truth.labels[frame].masks) > 0,
        *map(_of_masks, (_perfect, _silent, _mixed)),
    ),
    (_SILENT, _REDRAWN),
)
POSETRACK = Answers(
    _count_joints,
    _cases(
        _near_joints,
        lambda _: {**dict.fromkeys(OF_JOINTS, 1.0), "IDSW": 0.0},
        lambda _: dict.fromkeys((*OF_JOINTS, "IDSW"), 0.0),
        _joints_mixed,
    ),
    ("the last frame with people is not scored, as in poseval", _REDRAWN),
)
