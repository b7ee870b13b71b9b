"""Every metric by name: its unit, which side is good, its range, what it is. Boards ask here and nowhere else.

A plug-in that brings a metric adds it: `METRICS["X"] = Metric("ms", Direction.LOWER, (0, INF), "what", "where")`.
A metric without an entry is never ranked, drawn or printed: `find` says where to add it.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from unibench.errors import UnibenchError

INF = math.inf
Unit = Literal["fraction", "count", "pixel", "ms", "1/s"]


class Direction(IntEnum):
    """Which side of a metric is good: the sign that turns it into one that is better when higher."""

    HIGHER = 1
    LOWER = -1
    NEITHER = 0


@dataclass(frozen=True)
class Metric:
    """What a board must know of a metric to print and to rank it."""

    unit: Unit
    direction: Direction
    range: tuple[float, float]
    """Least and greatest value that is possible."""
    definition: str
    """One line."""
    reference: str
    """Where it is defined."""


_OTB = "Wu, Lim, Yang: Object Tracking Benchmark, PAMI 2015"
_LASOT = "Fan et al.: LaSOT, CVPR 2019"
_GOT = "Huang, Zhao, Huang: GOT-10k, PAMI 2021"
_DAVIS = "Perazzi et al.: DAVIS, CVPR 2016; Pont-Tuset et al.: DAVIS Challenge, 2017"
_CLEAR = "Bernardin, Stiefelhagen: CLEAR MOT, 2008"
_ID = "Ristani et al.: Performance Measures, ECCVW 2016"
_HOTA = "Luiten et al.: HOTA, IJCV 2021"
_MOTS = "Voigtlaender et al.: MOTS, CVPR 2019"
_PCK = "Yang, Ramanan: Articulated Human Detection, PAMI 2013; JHMDB protocol of Li et al., NeurIPS 2019"
_COCO = "Lin et al.: Microsoft COCO, arXiv 1405.0312"
_POSETRACK = "Andriluka et al.: PoseTrack, CVPR 2018"
_BDD = "Yu et al.: BDD100K, CVPR 2020"
_TAP = "Doersch et al.: TAP-Vid, NeurIPS 2022"
_PUBLISHED = "as the papers in results/published print it"


def _fraction(definition: str, reference: str, least: float = 0.0) -> Metric:
    return Metric("fraction", Direction.HIGHER, (least, 1.0), definition, reference)


def _count(direction: Direction, definition: str, reference: str = _CLEAR) -> Metric:
    return Metric("count", direction, (0.0, INF), definition, reference)


def _decay(letter: str) -> Metric:
    definition = f"{letter} in the first quarter of an object's frames less {letter} in the last"
    return Metric("fraction", Direction.LOWER, (-1.0, 1.0), definition, _DAVIS)


_COUNTS = {
    "IDSW": _count(Direction.LOWER, "changes of the track id that a true object is matched with"),
    "FP": _count(Direction.LOWER, "predicted objects without a match"),
    "FN": _count(Direction.LOWER, "true objects without a match"),
    "TP": _count(Direction.HIGHER, "true objects with a match"),
    "MT": _count(Direction.HIGHER, "true tracks that are matched in at least 80 % of their frames"),
    "PT": _count(Direction.NEITHER, "true tracks that are neither mostly tracked nor mostly lost"),
    "ML": _count(Direction.LOWER, "true tracks that are matched in less than 20 % of their frames"),
    "Frag": _count(Direction.LOWER, "times that a true track is found again after it was lost"),
}
_RATIOS = {
    "MOTA": _fraction("1 - (FP + FN + IDSW) / true objects", _CLEAR, least=-INF),
    "IDF1": _fraction("F1 of objects that keep their id, under the best pairing of whole tracks", _ID),
    "IDP": _fraction("precision of objects that keep their id", _ID),
    "IDR": _fraction("recall of objects that keep their id", _ID),
}
METRICS: dict[str, Metric] = {
    # single-object tracking
    "AUC": _fraction("mean success over 21 IoU thresholds from 0 to 1", _OTB),
    "P@20": _fraction("frames whose centre is at most 20 pixels off", _OTB),
    "NormP": _fraction("frames whose centre is off by at most 0.2 of the box's own size", _LASOT),
    "SR.5": _fraction("frames whose IoU is above 0.5", _OTB),
    "AO": _fraction("IoU of the frames after the first, mean over all frames of all clips", _GOT),
    "SR50": _fraction("frames after the first whose IoU is above 0.5, of all clips together", _GOT),
    "SR75": _fraction("frames after the first whose IoU is above 0.75, of all clips together", _GOT),
    # video object segmentation
    "J&F": _fraction("mean of J-mean and F-mean", _DAVIS),
    "J-mean": _fraction("region IoU, mean over an object's frames, then over objects", _DAVIS),
    "J-recall": _fraction("frames whose J is above 0.5, mean over objects", _DAVIS),
    "J-decay": _decay("J"),
    "F-mean": _fraction("F1 of contours, mean over an object's frames, then over objects", _DAVIS),
    "F-recall": _fraction("frames whose F is above 0.5, mean over objects", _DAVIS),
    "F-decay": _decay("F"),
    # multi-object tracking of boxes, masks and poses
    **_RATIOS,
    **_COUNTS,
    "HOTA": _fraction("geometric mean of DetA and AssA, mean over 19 IoU thresholds", _HOTA),
    "DetA": _fraction("detection: TP / (TP + FN + FP)", _HOTA),
    "DetRe": _fraction("recall of detection", _HOTA),
    "DetPr": _fraction("precision of detection", _HOTA),
    "AssA": _fraction("association: how much of its two tracks each true positive keeps together", _HOTA),
    "AssRe": _fraction("recall of association", _HOTA),
    "AssPr": _fraction("precision of association", _HOTA),
    "LocA": _fraction("similarity of the true positives", _HOTA),
    "MOTP": _fraction("mean similarity of the matches", _CLEAR),
    "MOTSA": _fraction("MOTA of masks", _MOTS, least=-INF),
    "sMOTSA": _fraction("MOTSA with each match counted by its IoU", _MOTS, least=-INF),
    "MOTSP": _fraction("mean IoU of the matched masks", _MOTS),
    "precision": _fraction("predicted joints with a match, mean over joints", _POSETRACK),
    "recall": _fraction("true joints with a match, mean over joints", _POSETRACK),
    **{
        f"motmetrics:{name}": metric for name, metric in {**_RATIOS, **_COUNTS}.items() if name != "TP"
    },
    # propagation of poses
    **{
        f"PCK@{share}": _fraction(f"joints at most {share} x 0.6 x the diagonal of the joint box off", _PCK)
        for share in ("0.1", "0.2", "0.3", "0.4", "0.5")
    },
    # points
    "AJ": _fraction("average Jaccard: mean of jaccard_1 to jaccard_16, then over clips", _TAP),
    "delta_avg": _fraction("position accuracy: mean of pts_within_1 to pts_within_16, then over clips", _TAP),
    "OA": _fraction("occlusion accuracy: frames in which a point is rightly said to be visible or not", _TAP),
    **{
        f"jaccard_{limit}": _fraction(f"TP / (TP + FN + FP) of visible points less than {limit} px of 256 off", _TAP)
        for limit in (1, 2, 4, 8, 16)
    },
    **{
        f"pts_within_{limit}": _fraction(f"visible points that are less than {limit} px of 256 off", _TAP)
        for limit in (1, 2, 4, 8, 16)
    },
    "vot:d_avg": _fraction("delta_avg over all points of all clips, in pixels of 255 / (size - 1)",
                           "VOT toolkit, VOTSp2026, vot/analysis/point.py"),
    # detection
    "AP": _fraction("average precision, mean over IoU .50 to .95 and over classes", _COCO),
    "AP50": _fraction("average precision at IoU .50", _COCO),
    "AP75": _fraction("average precision at IoU .75", _COCO),
    **{
        f"{name}{letter}": _fraction(f"{name} of {size} objects", _COCO)
        for name in ("AP", "AR")
        for letter, size in (("s", "small"), ("m", "medium"), ("l", "large"))
    },
    **{
        f"AR{most}": _fraction(f"recall with at most {most} detections an image, mean over IoU", _COCO)
        for most in (1, 10, 100)
    },
    # only in papers
    "MT%": _fraction("MT as a share of the true tracks", _CLEAR),
    "ML%": Metric("fraction", Direction.LOWER, (0.0, 1.0), "ML as a share of the true tracks", _CLEAR),
    "mAP": _fraction("AP50, mean over classes", _PUBLISHED),
    **{f"AP_{letter}": _fraction(f"AP{letter.lower()}", _COCO) for letter in "SML"},
    **{
        f"m{name}": _fraction(f"{name}, mean over classes", _BDD, least=least)
        for name, least in (("MOTA", -INF), ("IDF1", 0.0), ("MOTSA", -INF), ("MOTSP", 0.0))
    },
    "ms": Metric("ms", Direction.LOWER, (0.0, INF), "time of one frame", _PUBLISHED),
    "FPS": Metric("1/s", Direction.HIGHER, (0.0, INF), "frames in a second", _PUBLISHED),
    # of a model, not of a task
    "top-1": _fraction("accuracy on ImageNet's validation images", "Russakovsky et al.: ImageNet, IJCV 2015"),
}  # fmt: skip
"""Name -> what it is; `motmetrics:` and `vot:` are the same as counted by motmetrics and by the VOT toolkit."""


def find(name: str) -> Metric:
    """Look up a metric.

    Args:
        name: As scorings emit it.

    Raises:
        UnibenchError: It has no entry, so nothing is known of its unit and its good side.
    """
    if name not in METRICS:
        raise UnibenchError(
            f"metric {name!r}: no entry in unibench.metrics.catalogue.METRICS, expected one; add it where the metric "
            "is defined, or name the plug-in that brings it (--plugin)"
        )
    return METRICS[name]


def show(name: str, value: float | None) -> str:
    """Print a value as boards do.

    Args:
        name: Of the metric.
        value: In the metric's unit; None or NaN: not defined.

    Returns:
        A fraction times 100 and times and pixels as they are, with two decimals; a count as an integer; nothing where
        the value is not defined.
    """
    unit = find(name).unit
    if value is None or math.isnan(value):
        return ""
    if unit == "count":
        return f"{value:.0f}"
    return f"{round(scale(name) * value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0


def scale(name: str) -> int:
    """By what boards multiply a value: a fraction by 100, any other by 1."""
    return 100 if find(name).unit == "fraction" else 1
