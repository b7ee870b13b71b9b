"""What a paper printed, beside what the same model gives here: number by number, with a verdict.

Only what is here is run: nothing is fetched. A number agrees where all of the benchmark's clips were run and the 95 %
interval of ours holds it, or where it is ours to the last printed digit; with fewer clips it cannot be told.
"""

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unibench.datasets.benchmark import folder
from unibench.errors import DataError, UnibenchError
from unibench.evaluation.evaluate import Evaluation
from unibench.metrics import catalogue
from unibench.models import cards, fetch
from unibench.models.cards import Card
from unibench.records import Score
from unibench.report import boards, correlation, published, radar
from unibench.report.boards import OTHER_RUN, Board, BoardModel
from unibench.report.published import Row
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry
from unibench.tasks.family import Task

if TYPE_CHECKING:
    import rich.table

AGREES, DIFFERS, UNKNOWN, NOT_RUN = "agrees", "differs", "cannot be told", "not run"
TARGETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "unitrack-table1": ("UniTrack", ("Table 1",)),
    "unitrack-table2": ("UniTrack", ("Table 2",)),
    "unitrack-figure6": ("UniTrack", ("Table 1",)),
    "joint-retinatrack": ("RetinaTrack", ()),
    "joint-tdt": ("TDT", ()),
    "joint-unicorn": ("Unicorn", ()),
    "joint-trivd": ("TrIVD", ()),
}
"""Name -> paper and tables; no table: all. A figure is reproduced from the table that it draws."""
OURS = {"RetinaTrack": "RetinaTrack", "TDT": "TDT", "Unicorn": "Unicorn", "TrIVD": "TrIVD"}
"""Paper on a joint tracker -> what the names of its own rows begin with."""
_CARDS = {
    ("Unicorn", "ConvNeXt-L"): "unicorn-large-mask",
    ("Unicorn", "ConvNeXt-T"): "unicorn-tiny-mask",
    ("Unicorn", "ResNet-50"): "unicorn-r50-mask",
    ("Unicorn, RT", "ConvNeXt-T"): "unicorn-tiny-rt-mask",
}
"""System and backbone, as Unicorn's paper names them -> card of the authors' weights."""


@dataclass(frozen=True)
class Benchmark:
    """How a published benchmark and protocol are run here."""

    task: str
    clips: int
    """Of the whole benchmark."""
    detections: str = ""
    """Whose detections were given, where they must be given as a folder; empty: none are."""


BENCHMARKS = {
    ("OTB-2015", "XCorr head"): Benchmark("sot/otb@xcorr", 100),
    ("OTB-2015", "DCF head"): Benchmark("sot/otb@unitrack", 100),
    ("DAVIS-2017", "mask prompt"): Benchmark("vos/davis2017@unitrack", 30),
    ("MOT16", "FairMOT detections, no motion"): Benchmark("mot/mot16@unitrack", 7, "FairMOT"),
    ("MOTS20", "COSTA_st masks, no motion"): Benchmark("mots/mots20@unitrack", 4, "COSTA_st"),
    ("PoseTrack18", "LightTrack poses, no motion"): Benchmark("posetrack/posetrack18@unitrack", 74, "LightTrack"),
    ("LaSOT", "box prompt"): Benchmark("sot/lasot@box", 280),
    ("DAVIS-2016", "box prompt"): Benchmark("vos/davis2016@box", 20),
    ("DAVIS-2017", "box prompt"): Benchmark("vos/davis2017@box", 30),
}  # fmt: skip
"""Benchmark and protocol, as the record names them."""


@dataclass(frozen=True)
class Here:
    """What this machine has."""

    data: Path | None
    weights: Path | None
    detections: Path | None
    """Folder of `<benchmark>/<clip>.txt` or `.json`: `mot16/MOT16-02.txt`."""


@dataclass(frozen=True)
class Compared:
    """One printed number beside ours."""

    row: Row
    model: str
    """Name of our card; empty: there is none."""
    score: Score | None
    verdict: str
    """AGREES, DIFFERS, UNKNOWN or NOT_RUN."""
    why: str


Run = Callable[[Sequence[Card], Sequence[Task], Sequence[str]], Evaluation]
"""Cards, tasks, layers -> their scores."""


def rows_of(name: str) -> list[Row]:
    """The printed numbers of a target that are of the paper's own models; of UniTrack's those of Tables 1 and 2."""
    paper, tables = TARGETS[name]
    found = [row for row in published.rows() if row.paper == paper and (not tables or row.table in tables)]
    if paper in OURS:
        return [row for row in found if row.system.startswith(OURS[paper])]
    if name.endswith("figure6"):
        shown = {key for key, line in published.models().items() if "6" in line["figures"].split()}
        axes = published.FIGURE_AXES["6"]
        return [
            row for row in found
            if (row.system, row.backbone) in shown and (row.benchmark, row.protocol, row.metric) in axes
        ]  # fmt: skip
    return found


def reproduce(name: str, here: Here, run: Run, frames: int | None = None) -> list[Compared]:
    """Run what a target needs and this machine has, and compare.

    Args:
        name: A key of `TARGETS`.
        here: What there is.
        run: Scores models on tasks.
        frames: Of each clip, the first, that `run` takes; None: all.
    """
    rows = rows_of(name)
    reasons = {row: _missing(row, here) for row in rows}
    wanted: dict[str, list[Row]] = {}
    for row in rows:
        if not reasons[row]:
            wanted.setdefault(_card_of(row), []).append(row)
    scores: dict[tuple[str, str, str, str], Score] = {}
    for model, needed in wanted.items():
        tasks = [_task(spec, here) for spec in dict.fromkeys(_benchmark(row).task for row in needed)]
        layers = list(dict.fromkeys(row.layer for row in needed if row.layer))
        for score in run([cards.find(model)], tasks, layers).rows:
            scores[model, score.layer if layers else "", _spec(score), score.metric] = score
    return [_compare(row, reasons[row], scores, frames) for row in rows]


def _compare(
    row: Row, reason: str, scores: Mapping[tuple[str, str, str, str], Score], frames: int | None
) -> Compared:
    model = _card_of(row)
    if reason:
        return Compared(row, model, None, NOT_RUN, reason)
    of_all = _benchmark(row)
    score = scores.get((model, row.layer, of_all.task, row.metric))
    if score is None:
        return Compared(row, model, None, NOT_RUN, f"its clips failed, or give no {row.metric}")
    return Compared(row, model, score, *judge(row, score, of_all.clips, frames))


def judge(row: Row, score: Score, clips: int, frames: int | None = None) -> tuple[str, str]:
    """Say whether our score and a printed number agree, and why.

    Args:
        row: The printed number.
        score: Ours.
        clips: Number of clips of the whole benchmark.
        frames: Of each clip, the first, that ours is of; None: all.
    """
    if score.partial or score.clips < clips:
        short = f", the first {frames} frames of each" if frames else ""
        return UNKNOWN, f"{score.clips} of {clips} clips{short}"
    digits = len(row.value.partition(".")[2])
    printed, ours = float(row.value), catalogue.scale(score.metric) * score.value
    if f"{ours:.{digits}f}" == f"{printed:.{digits}f}":
        return AGREES, "to the printed digit"
    if math.isnan(score.ci_low):
        return UNKNOWN, f"{score.clips} clips give no interval"
    low, high = (catalogue.scale(score.metric) * end for end in (score.ci_low, score.ci_high))
    return (AGREES, "within the interval") if low <= printed <= high else (DIFFERS, "outside the interval")


def _missing(row: Row, here: Here) -> str:
    """Why a number cannot be measured here; empty: it can."""
    if not _card_of(row):
        return _no_card(row)
    if (row.benchmark, row.protocol) not in BENCHMARKS:
        return _no_task(row)
    if lacking := _no_data(row, here):
        return lacking
    card = cards.find(_card_of(row))
    if not fetch.status(card, here.weights).here:
        return f"no weights of {card.name} here"
    return ""


def _no_data(row: Row, here: Here) -> str:
    """Which data or detections a number needs that are not here; empty: none."""
    planned = _benchmark(row)
    task = registry.find(planned.task)
    try:
        folder(task.benchmark, here.data)
    except DataError:
        return f"no data of {row.benchmark} ({task.benchmark.folder}) here"
    if planned.detections and not _detections(task, here):
        return f"no detections of {planned.detections} here: --detections DIR with {task.benchmark.folder.lower()}/"
    return ""


def _no_card(row: Row) -> str:
    if row.paper == "Unicorn":
        return "the authors' weights of this variant were not published"
    return "neither code nor weights were published; our toys are other models, trained on rendered clips"


def _no_task(row: Row) -> str:
    if row.metric in ("ms", "FPS") or not row.benchmark:
        return "a speed of the paper's machine"
    if row.split.startswith("test"):
        return f"the truth of {row.benchmark}'s test set is not public"
    return f"no task of ours is {row.benchmark}, {row.protocol}"


def _card_of(row: Row) -> str:
    if row.paper == "UniTrack":
        return published.models()[row.system, row.backbone]["model"]
    return _CARDS.get((row.system, row.backbone), "")


def _benchmark(row: Row) -> Benchmark:
    return BENCHMARKS[row.benchmark, row.protocol]


def _detections(task: Task, here: Here) -> Path | None:
    given = None if here.detections is None else here.detections / task.benchmark.folder.lower()
    return given if given is not None and given.is_dir() else None


def _task(spec: str, here: Here) -> Task:
    given = _detections(registry.find(spec), here)
    return registry.find(spec, None if given is None else str(given))


def _spec(score: Score) -> str:
    return f"{score.task}@{score.protocol.partition('+')[0]}"


def table(name: str, compared: Sequence[Compared]) -> "rich.table.Table":
    """Lay out a comparison for the terminal; what was not run for one reason stands in one line.

    Args:
        name: The target.
        compared: From `reproduce`.
    """
    from rich.table import Table  # only a terminal needs it
    from rich.text import Text

    laid = Table(title=Text(f"{name}: what is printed, and what is measured here"), title_justify="left")
    heads = (
        "system",
        "backbone",
        "layer",
        "benchmark",
        "metric",
        "published",
        "ours",
        "95 % interval",
        "verdict",
    )
    for head in heads:
        laid.add_column(head, overflow="fold", justify="right" if head in ("published", "ours") else "left")
    for one in compared:
        if one.verdict != NOT_RUN:
            row = one.row
            where = f"{row.benchmark}, {row.protocol}"
            cells = (row.system, row.backbone, row.layer, where, row.metric, row.value, *_ours(one.score))
            laid.add_row(*map(Text, (*cells, f"{one.verdict}: {one.why}")))
    return laid


def counts(compared: Sequence[Compared]) -> list[str]:
    """Say how many numbers have each verdict, and why those that were not run were not."""
    verdicts = Counter(one.verdict for one in compared)
    reasons = Counter(one.why for one in compared if one.verdict == NOT_RUN)
    told = ", ".join(f"{verdicts[one]} {one}" for one in (AGREES, DIFFERS, UNKNOWN, NOT_RUN))
    return [
        f"{len(compared)} printed numbers: {told}.",
        *(f"not run: {count}: {why}" for why, count in reasons.most_common()),
    ]


def _ours(score: Score | None) -> tuple[str, str]:
    if score is None:
        return "", ""
    ends = () if math.isnan(score.ci_low) else (score.ci_low, score.ci_high)
    value, *interval = (catalogue.show(score.metric, one) for one in (score.value, *ends))
    return value, " to ".join(interval)


def write(name: str, compared: Sequence[Compared], out: Path) -> Path:
    """Write `NAME.csv`: every printed number with ours and the verdict, one a line.

    Raises:
        OutputError: It cannot be written.
    """
    of_row = ("table", "system", "backbone", "layer", "benchmark", "split", "protocol", "metric")
    lines: list[list[object]] = [[*of_row, "published", "model", "ours", "95% CI", "clips", "verdict", "why"]]
    for one in compared:
        clips = one.score.clips if one.score else ""
        printed = [*(getattr(one.row, name) for name in of_row), one.row.value]
        lines.append([*printed, one.model, *_ours(one.score), clips, one.verdict, one.why])
    return replace_file(Path(out, f"{name}.csv"), csv_bytes(lines))


def draw_beside(names: Sequence[str], here: Here, run: Run, out: Path) -> list[Path]:
    """Draw models of the user's among those of UniTrack's figures, marked as another run.

    Each stands on the axes whose data are here; the coefficients stay those of the published models.

    Args:
        names: Of cards.
        here: What there is.
        run: Scores models on tasks.
        out: Folder for `radar.svg`, `radar.png`, `correlation.csv`, `correlation.svg` and `correlation.png`.

    Raises:
        UnibenchError: A card is not there, or none of the figure's benchmarks is here.
    """
    own = [cards.find(name) for name in names]
    axes = {(row.benchmark, row.protocol, row.metric): row for row in rows_of("unitrack-figure6")}
    known = {_benchmark(row).task: row for row in axes.values() if not _no_data(row, here)}
    if not known:
        raise UnibenchError("reproduce: none of the benchmarks of UniTrack's figures is here, expected one or more; "
                            "name their folder with --data")  # fmt: skip
    found = run(own, [_task(spec, here) for spec in known], []).rows
    drawn = [
        replace(
            published.score(score.model, known[_spec(score)]), layer=score.layer, value=score.value
        )
        for score in found
        if _spec(score) in known and score.metric == known[_spec(score)].metric
    ]  # fmt: skip
    marked = [
        BoardModel(card.name, card.imagenet_top1.value if card.imagenet_top1 else None, f"{card.name} (another run)",
                   False, OTHER_RUN)
        for card in own
    ]  # fmt: skip
    paths = []
    figures: dict[str, Callable[[Board, Path], list[Path]]] = {"1": radar.write, "6": correlation.write}
    for number, write_figure in figures.items():
        scores, of_paper = published.figure(number)
        there = {(score.task, score.protocol, score.metric) for score in scores}
        fitting = [score for score in drawn if (score.task, score.protocol, score.metric) in there]
        board = boards.arrange([*scores, *fitting], [*of_paper, *marked])
        paths += write_figure(board, out)
    return paths


@dataclass(frozen=True)
class Direction:
    """One of a paper's ablations: which of two variants is ahead, in print and in our small experiment."""

    paper: str
    better: str
    """As the paper names it."""
    worse: str
    table: str
    benchmark: str
    metric: str
    ours: tuple[str, str, str]
    """Column of the experiment's summary, and how it names the two variants."""


DIRECTIONS = (
    Direction("RetinaTrack", "RetinaTrack", "RetinaTrack w/o triplet loss", "Figure 8", "Waymo v1, vehicles", "MOTA",
              ("MOTA", "RetinaTrack", "without triplet loss")),
    Direction("RetinaTrack", "RetinaTrack w/o triplet loss", "IOU baseline", "Figure 8", "Waymo v1, vehicles", "MOTA",
              ("MOTA", "without triplet loss", "overlap only")),
    Direction("RetinaTrack", "RetinaTrack", "RetinaTrack w/R-50 ReID", "Figure 8", "Waymo v1, vehicles", "MOTA",
              ("MOTA", "RetinaTrack", "offline re-id")),
    Direction("TDT", "TDT-tracker", "Two-stage", "Table 1", "MOT15", "MOTA", ("MOTA", "TDT, one stage", "two stages")),
    Direction("TDT", "TDT-tracker, teacher ON-Large", "TDT-tracker, teacher ResNet50", "Table 3", "MOT15", "MOTA",
              ("MOTA", "re-identification", "ImageNet")),
    Direction("Unicorn", "Unicorn", "Unicorn, fusion: without prior", "Table 7", "LaSOT", "AUC",
              ("sot AUC", "Unicorn", "without target prior")),
    Direction("Unicorn", "Unicorn", "Unicorn, SOT only", "Table 7", "LaSOT", "AUC",
              ("sot AUC", "Unicorn", "sot alone")),
)  # fmt: skip


def directions(name: str, out: Path) -> list[str]:
    """Say of a paper's ablations whether our small experiment goes the same way; nothing more can be compared.

    Args:
        name: A key of `TARGETS`.
        out: Folder of `unibench experiment`, where its summary lies.
    """
    paper, system = TARGETS[name][0], name.removeprefix("joint-")
    path = Path(out, f"{system}_summary.csv")
    lines = []
    for one in DIRECTIONS:
        if one.paper != paper:
            continue
        printed = [_printed(one, variant) for variant in (one.better, one.worse)]
        said = f"{one.table}, {one.metric}: {one.better} {printed[0]}, {one.worse} {printed[1]}"
        lines.append(f"{said}; in small: {_in_small(one, path, system)}")
    return lines


def _printed(one: Direction, variant: str) -> str:
    """The number of the paper's main model, of several rows of one name the first."""
    return next(
        row.value for row in published.rows()
        if (row.paper, row.table, row.system, row.benchmark, row.metric)
        == (one.paper, one.table, variant, one.benchmark, one.metric)
    )  # fmt: skip


def _in_small(one: Direction, path: Path, system: str) -> str:
    if not path.is_file():
        return f"not run: no {path} (unibench experiment {system} -o {path.parent})"
    column, *names = one.ours
    with path.open(newline="", encoding="utf-8") as file:
        found = {name: line for line in csv.DictReader(file) for name in names if name in line.values()}
    if set(found) != set(names):
        return f"not run: {path} lacks {', '.join(sorted(set(names) - set(found)))}"
    values = [float(found[name][column]) for name in names]
    spreads = [float(found[name][f"{column} spread"] or "nan") for name in names]
    told = ", ".join(_with_spread(*pair) for pair in zip(values, spreads, strict=True))
    if not abs(values[0] - values[1]) > sum(spread for spread in spreads if not math.isnan(spread)):
        return f"{told}: {UNKNOWN}, the difference is within the spreads of the seeds"
    seeds = " (a row of one seed has no spread)" if any(map(math.isnan, spreads)) else ""
    return f"{told}: {'the same way' if values[0] > values[1] else 'the other way'}{seeds}"


def _with_spread(value: float, spread: float) -> str:
    return f"{value:.3f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"
