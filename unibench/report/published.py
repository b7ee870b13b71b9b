"""What five papers printed, number by number: the record in `results/published`, described in the README there."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from unibench.metrics import catalogue
from unibench.records import Score
from unibench.report.boards import PUBLISHED, BoardModel

PAPERS = ("unitrack", "retinatrack", "tdt", "unicorn", "trivd")
TASKS = {
    "OTB-2015": "sot/otb",
    "LaSOT": "sot/lasot",
    "DAVIS-2016": "vos/davis2016",
    "DAVIS-2017": "vos/davis2017",
    "MOT15": "mot/mot15",
    "MOT16": "mot/mot16",
    "MOT17": "mot/mot17",
    "MOT20": "mot/mot20",
    "MOTS20": "mots/mots20",
    "PoseTrack18": "posetrack/posetrack18",
}
"""A benchmark as the record names it -> the task that reads it; no task of ours reads the others."""
FAMILIES = {task: task.partition("/")[0] for task in TASKS.values()} | {
    "TrackingNet": "sot",
    "Waymo v1, vehicles": "mot",
    "Waymo v1.1, vehicles": "mot",
    "BDD100K": "mot",
    "BDD100K MOTS": "mots",
}
"""A task, or a benchmark of the record that no task reads -> the family that it belongs to."""
_AXES = {
    ("OTB-2015", "DCF head", "AUC"),
    ("DAVIS-2017", "mask prompt", "J-mean"),
    ("MOT16", "FairMOT detections, no motion", "IDF1"),
    ("MOTS20", "COSTA_st masks, no motion", "IDF1"),
    ("PoseTrack18", "LightTrack poses, no motion", "IDF1"),
}
FIGURE_AXES = {"1": _AXES, "6": {*_AXES, ("OTB-2015", "XCorr head", "AUC")}}
"""Figure of UniTrack -> benchmark, protocol and metric of its axes. The paper's Figure 6 has five of these six: XCorr,
with which the sign for SOT changes, is not in it."""


@dataclass(frozen=True)
class Row:
    """One printed number."""

    paper: str
    table: str
    system: str
    backbone: str
    layer: str
    benchmark: str
    split: str
    protocol: str
    metric: str
    value: str
    """As printed: percent, a number of things, milliseconds, or frames a second."""


def family(row: Row) -> str:
    """Name the family of tasks that a number belongs to; empty: none, such as image detection."""
    return FAMILIES.get(TASKS.get(row.benchmark, row.benchmark), "")


def folder() -> Path:
    """Where the record lies: within the installed package, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_published"
    return shipped if shipped.is_dir() else package.parent / "results" / "published"


@cache
def rows() -> tuple[Row, ...]:
    """Read the whole record, paper by paper, in the order of the tables."""
    return tuple(Row(**line) for paper in PAPERS for line in _read(f"{paper}.csv"))


def models() -> dict[tuple[str, str], dict[str, str]]:
    """Read what is known of the models of UniTrack's Tables 1 and 2.

    Returns:
        System and backbone, as the record names them -> `model` (the name of its card), `group`, `imagenet_top1` (the
        x-axis of Figure 6, percent) and `figures` (those that show it); empty texts where there is nothing.
    """
    return {(line["system"], line["backbone"]): line for line in _read("unitrack_models.csv")}


def figure(number: str) -> tuple[list[Score], list[BoardModel]]:
    """Turn what a figure of UniTrack shows into scores, so that the code for our own scores draws it.

    Args:
        number: `1` (the radars) or `6` (the correlations).

    Returns:
        Scores of both layers, with `PUBLISHED` in the place of every hash; and the models in the order of Table 1,
        under the names of their cards, with the paper's ImageNet accuracies.

    Reference:
        UniTrack (NeurIPS 2021), Figures 1 and 6, from the printed Table 1.
    """
    shown = {key: line for key, line in models().items() if number in line["figures"].split()}
    known = [
        BoardModel(
            name=line["model"],
            imagenet_top1=float(line["imagenet_top1"]) / 100 if line["imagenet_top1"] else None,
            label=line["system"],
            supervised_reference=line["group"] == "supervised",
            group=line["group"],
        )
        for line in shown.values()
    ]
    scores = [
        score(shown[row.system, row.backbone]["model"], row)
        for row in rows()
        if (row.paper, row.table) == ("UniTrack", "Table 1")
        and (row.system, row.backbone) in shown
        and (row.benchmark, row.protocol, row.metric) in FIGURE_AXES[number]
    ]
    return scores, known


def score(model: str, row: Row) -> Score:
    """Turn one printed number into a score that heads its task.

    Args:
        model: Name for the model.
        row: A number on a benchmark of `TASKS`.

    Returns:
        The score, a fraction or a count, with `PUBLISHED` in the place of every hash.
    """
    task = TASKS[row.benchmark]
    return Score(
        model=model,
        layer=row.layer,
        task=task,
        benchmark=task.partition("/")[2],
        protocol=row.protocol,
        protocol_version=PUBLISHED,
        detections="",
        metric=row.metric,
        value=float(row.value) / catalogue.scale(row.metric),
        ci_low=math.nan,
        ci_high=math.nan,
        clips=0,
        frames=0,
        partial=False,
        headline=True,
        protocol_hash=PUBLISHED,
        weights_hash=PUBLISHED,
        data_hash=PUBLISHED,
    )


def _read(name: str) -> list[dict[str, str]]:
    with (folder() / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
