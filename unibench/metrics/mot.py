"""Multi-object tracking of boxes (MOT) and of masks (MOTS): HOTA, CLEAR MOT and identity metrics.

Truth and prediction are compared within each class, and the counts are summed over classes. Where the truth
names no classes, those of the prediction are not read; where it names one, a prediction without classes is of
that one. IoU at least 0.5 is a match (HOTA: at least each alpha).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from pycocotools import mask as coco

from unibench.errors import TrackerError
from unibench.geometry import boxes, masks
from unibench.metrics.association import (
    EPSILON,
    Pairing,
    clear_and_identity_counts,
    clear_and_identity_scores,
    hota_counts,
    hota_scores,
)
from unibench.metrics.counts import Number, check_objects, scored_frames, total
from unibench.records import EXCUSED, Labels, Truth

MATCH = 0.5
"""Least IoU of a match, and the share of a mask within ignored regions beyond which it is taken away."""


def tally_boxes(truth: Truth, prediction: Sequence[Labels]) -> dict[str, float]:
    """Count one clip of boxes.

    A prediction that an optimal matching at IoU 0.5 gives to an EXCUSED box is taken away first; scored,
    EXCUSED and BYSTANDER boxes take part in this matching, whatever their class.

    Args:
        truth: Ids and boxes of each frame, classes if there are several; `ignored` boxes.
        prediction: The same.

    Returns:
        TrackEval's counts, and its means times the number that they are means of.

    Raises:
        TrackerError: The number of frames is wrong, an id is doubled, a box is not finite, or classes are
            missing.

    Reference:
        Dendorfer et al.: MOTChallenge, IJCV 2021, section 4; trackeval.datasets.MotChallenge2DBox.
    """
    return _count(box_pairings(truth, prediction))


def box_pairings(truth: Truth, prediction: Sequence[Labels]) -> list[list[Pairing]]:
    """What `tally_boxes` compares: for each class, one pairing for each scored frame."""
    known = truth_classes(truth)
    return _by_class([_box_frame(truth, prediction[t], t, known) for t in scored_frames(truth, prediction)])


def tally_masks(truth: Truth, prediction: Sequence[Labels]) -> dict[str, float]:
    """Count one clip of masks, which must not overlap.

    A prediction that matches no truth of its class and lies by more than half of its area within the EXCUSED
    masks is taken away first. BYSTANDER masks have no part.

    Args:
        truth: Ids and masks of each frame, classes if there are several; `ignored` masks.
        prediction: The same; masks of one frame share no pixel.

    Returns:
        TrackEval's counts, and its means times the number that they are means of.

    Raises:
        TrackerError: The number of frames is wrong, an id is doubled, masks overlap or are of another size,
            or classes are missing.

    Reference:
        Voigtlaender et al.: MOTS, CVPR 2019, section 4; trackeval.datasets.MOTSChallenge.
    """
    return _count(mask_pairings(truth, prediction))


def mask_pairings(truth: Truth, prediction: Sequence[Labels]) -> list[list[Pairing]]:
    """What `tally_masks` compares: for each class, one pairing for each scored frame."""
    known = truth_classes(truth)
    return _by_class([_mask_frame(truth, prediction[t], t, known) for t in scored_frames(truth, prediction)])


ORDER = (
    *(
        "IDF1",
        "HOTA",
        "DetA",
        "AssA",
        "MOTA",
        "sMOTSA",
        "MOTSA",
        "IDSW",
        "MT",
        "PT",
        "ML",
        "FP",
        "FN",
        "Frag",
    ),
    *("MOTP", "MOTSP", "IDP", "IDR", "DetRe", "DetPr", "AssRe", "AssPr", "LocA"),
)
"""In which boards show the scores."""


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Scores of boxes: HOTA, DetA, AssA, LocA, MOTA, MOTP, IDF1, ... as fractions; IDSW, FP, FN, ... as counts.

    HOTA and its parts are means over 19 thresholds. Equal to TrackEval's `combine_sequences`.
    """
    sums = total(tallies)
    scores = hota_scores(sums) | clear_and_identity_scores(sums)
    return {name: scores[name] for name in ORDER if name in scores}


def pool_masks(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Scores of masks: those of boxes, but MOTSA, MOTSP and sMOTSA (TrackEval: MOTA, MOTP, sMOTA)."""
    sums = total(tallies)
    names = {"MOTA": "MOTSA", "MOTP": "MOTSP", "sMOTA": "sMOTSA"}
    found = hota_scores(sums) | clear_and_identity_scores(sums)
    scores = {names.get(name, name): value for name, value in found.items()}
    return {name: scores[name] for name in ORDER if name in scores}


def truth_classes(truth: Truth) -> set[int]:
    """The classes that the truth of a clip names; none where it goes without saying."""
    return {int(name) for labels in truth.labels for name in labels.classes}


def object_classes(labels: Labels, frame: int, known: set[int]) -> Int[np.ndarray, " object"]:
    """The class of each object of one frame, given the classes that the truth names.

    Raises:
        TrackerError: The truth names several classes and the prediction none.
    """
    if not known:
        return np.zeros(len(labels.ids), dtype=np.int64)
    if len(labels.classes) == len(labels.ids):
        return labels.classes
    if len(labels.classes) or len(known) > 1:
        raise TrackerError(
            f"prediction: frame {frame} has {len(labels.classes)} classes for {len(labels.ids)} objects, "
            f"expected one of {sorted(known)} each; give each object its class"
        )
    return np.full(len(labels.ids), min(known))


def check_boxes(labels: Labels, frame: int) -> None:
    """Check one predicted frame of boxes.

    Raises:
        TrackerError: An id is missing or doubled, or a box is not finite.
    """
    check_objects(labels, frame, len(labels.boxes))
    if not np.isfinite(labels.boxes).all():
        raise TrackerError(f"prediction: frame {frame} has a box that is not finite; leave lost objects out")


@dataclass(frozen=True, eq=False)
class _Frame:
    pairing: Pairing
    truth_classes: Int[np.ndarray, " truth"]
    prediction_classes: Int[np.ndarray, " prediction"]

    def of_class(self, name: int) -> Pairing:
        rows, columns = self.truth_classes == name, self.prediction_classes == name
        pairing = self.pairing
        return Pairing(
            pairing.truth_ids[rows], pairing.prediction_ids[columns], pairing.similarity[rows][:, columns]
        )


def _by_class(frames: Sequence[_Frame]) -> list[list[Pairing]]:
    names = {int(name) for frame in frames for name in (*frame.truth_classes, *frame.prediction_classes)}
    return [[frame.of_class(name) for frame in frames] for name in sorted(names or {0})]


def _count(of_classes: Sequence[Sequence[Pairing]]) -> dict[str, float]:
    return total(hota_counts(pairings) | clear_and_identity_counts(pairings) for pairings in of_classes)


def _box_frame(truth: Truth, predicted: Labels, frame: int, known: set[int]) -> _Frame:
    check_boxes(predicted, frame)
    true, ignored = truth.labels[frame], _ignored(truth, frame)
    iou = boxes.iou(np.concatenate([true.boxes, ignored.boxes]), predicted.boxes)
    rows, columns = _match(iou)
    excusing = np.concatenate([np.zeros(len(true.ids), dtype=bool), ignored.classes == EXCUSED])
    taken = columns[excusing[rows]]
    return _frame(true, predicted, iou[: len(true.ids)], taken, frame, known)


def _mask_frame(truth: Truth, predicted: Labels, frame: int, known: set[int]) -> _Frame:
    true, ignored = truth.labels[frame], _ignored(truth, frame)
    regions = [mask for mask, kind in zip(ignored.masks, ignored.classes, strict=True) if kind == EXCUSED]
    _check_masks(true, predicted, frame)
    iou = masks.iou(true.masks, predicted.masks)
    same_class = object_classes(true, frame, known)[:, None] == object_classes(predicted, frame, known)
    _, matched = _match(np.where(same_class, iou, 0.0))
    within = masks.iou(predicted.masks, [coco.merge(regions)] if regions else [], over_first=True).sum(axis=1)
    taken = np.setdiff1d(np.flatnonzero(within > MATCH + EPSILON), matched)
    return _frame(true, predicted, iou, taken, frame, known)


def _frame(
    true: Labels,
    predicted: Labels,
    iou: Float[np.ndarray, "truth prediction"],
    taken: Int[np.ndarray, " taken"],
    frame: int,
    known: set[int],
) -> _Frame:
    """One frame without the predictions that are taken away."""
    kept: Bool[np.ndarray, " prediction"] = ~np.isin(np.arange(len(predicted.ids)), taken)
    pairing = Pairing(true.ids, predicted.ids[kept], iou[:, kept])
    return _Frame(pairing, object_classes(true, frame, known), object_classes(predicted, frame, known)[kept])


def _ignored(truth: Truth, frame: int) -> Labels:
    return truth.ignored[frame] if truth.ignored else Labels()


def _match(
    iou: Float[np.ndarray, "truth prediction"],
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Rows and columns of the matching with the largest sum of IoUs of 0.5 or more."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    allowed = np.where(iou >= MATCH - EPSILON, iou, 0.0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    matched = allowed[rows, columns] > 0
    return rows[matched], columns[matched]


def _check_masks(true: Labels, predicted: Labels, frame: int) -> None:
    check_objects(predicted, frame, len(predicted.masks))
    sizes = {tuple(mask["size"]) for mask in (*true.masks, *predicted.masks)}
    if len(sizes) > 1:
        raise TrackerError(
            f"prediction: frame {frame} has masks of sizes {sorted(sizes)}, expected one; use the frame's own"
        )
    if predicted.masks and masks.area(coco.merge(list(predicted.masks))) < sum(
        map(masks.area, predicted.masks)
    ):
        raise TrackerError(f"prediction: frame {frame} has masks that overlap; give each pixel to one object")
