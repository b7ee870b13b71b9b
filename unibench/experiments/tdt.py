"""TDT's comparisons (its tables 1, 3 and 6) at the size of a toy, on `mot/shapes`.

Students learn on rendered stills without identities. One is tracked by overlap alone, by its own embeddings (one
stage), and a detector that was trained alone by the teacher's on crops (two stages); students of a random, an ImageNet
and a re-identification teacher are compared, and those that learn fewer elements of an embedding. The limit of the
appearance cost depends on the embedding space, so each tracker gets its own, chosen on clips that nothing else uses.
All shapes are of one class here: naming kinds takes most of a toy's training, and identities are the matter.
"""

import statistics
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from heads.associate import CascadeState
from unibench.datasets.synthetic import shapes
from unibench.datasets.synthetic.shapes import NAMES, TASK
from unibench.experiments import reid
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.system import Detections, EmbedderOptions, TrainingSet
from unibench.joint.tdt import SYSTEM
from unibench.joint.tdt.config import EmbedderName, TdtConfig, TrackingOptions
from unibench.joint.tdt.tracker import advance, observer
from unibench.joint.training import config as configs
from unibench.joint.training import evaluate
from unibench.joint.training.train import train
from unibench.metrics import mot
from unibench.models import cards
from unibench.records import Clip, Labels, Truth
from unibench.report import figures, overlay
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry as tasks

METRICS = ("MOTA", "IDF1", "HOTA", "IDSW", "FP", "FN", "AP", "limit", "fps")
LIMITS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Of the appearance cost, to choose from by IDF1."""
VALIDATION = "validation/tdt"
"""First part of the words of the clips on which that is done."""
RANDOM = EmbedderOptions("random-resnet18", "layer3", reid.SIZE)
IMAGENET = EmbedderOptions("efficientnet-lite0", "stage5", reid.SIZE)
CLASSES = ("shape",)
DISTILLED = "TDT, one stage"
TITLES = {"stages": "stages", "teacher": "teacher", "elements": "elements of an embedding"}
SHOWN = (8, 10, 12, 14, 16)
"""Frames that are drawn."""


@dataclass(frozen=True)
class Size:
    """How much is trained and scored."""

    seeds: tuple[int, ...]
    steps: int
    teacher: int
    """Steps of the re-identification teacher."""
    training_images: int
    dims: tuple[int, ...]
    """Lengths of embeddings beside the config's."""
    clips: int
    validation: int
    """Clips."""
    images: int
    """For average precision."""


FULL = Size((0, 1, 2), 300, 300, 1000, (4, 16), 8, 4, 160)
QUICK = Size((0,), 30, 30, 64, (16,), 1, 1, 20)


@dataclass(frozen=True)
class Row:
    """What one tracker got with one seed."""

    comparison: str
    tracker: str
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Observed:
    """A clip and what a network finds in it: association can be done again without the network."""

    clip: Clip
    truth: Truth
    detections: Sequence[Detections]
    """Of each frame."""
    seconds: float
    """That the network took."""


Trained = tuple[nn.Module, TdtConfig]


def run(out: Path, *, quick: bool = False) -> None:
    """Train, track, score; write `tdt.csv`, `tdt_summary.csv`, `tdt.png` and tracks of a clip, `tdt_tracks.png`.

    Trainings that are finished are not done again, and one that was interrupted goes on.

    Args:
        out: Folder of all of it.
        quick: One seed and few steps, to see that it works; the figures mean nothing then.
    """
    size = QUICK if quick else FULL
    card = out / "teacher" / "reid.toml"
    if not card.exists():
        card = reid.train(out / "teacher", steps=size.teacher, name="reid")
    best = EmbedderOptions(str(card), "embedding", reid.SIZE)
    rows = [row for seed in size.seeds for row in _rows(out, best, seed, size)]
    replace_file(out / "tdt.csv", _table(rows))
    replace_file(out / "tdt_summary.csv", _summary_table(rows))
    figures.save(draw(rows), out / "tdt.png")
    figures.save(_tracks(_student(out, size, "reid-0", _config(best, 0, size))), out / "tdt_tracks.png")


def _tracks(student: Trained) -> Figure:
    """Draw one student's tracks of the benchmark's first clip, with and without its embeddings."""
    network, config = student
    task = tasks.find(f"{TASK}@private")
    shown, truth = clip(f"{TASK}/{NAMES[0]}")
    tracks = {
        "truth": truth.labels,
        DISTILLED: list(SYSTEM.track(network, config, shown, task)),
        "overlap only": list(SYSTEM.track(*_embedding_by(student, "none"), shown, task)),
    }
    return overlay.strips([one.image for one in shown.frames()], list(tracks.items()), SHOWN)


def _config(teacher: EmbedderOptions, seed: int, size: Size) -> TdtConfig:
    tiny: TdtConfig = configs.read("tiny", SYSTEM)
    distilled = replace(tiny, classes=CLASSES, teacher=teacher)
    return replace(distilled, train=configs.with_steps(tiny.train, size.steps, seed=seed))


def _rows(out: Path, best: EmbedderOptions, seed: int, size: Size) -> list[Row]:
    """Train and score everything of a seed."""
    tiny = _config(best, seed, size)
    alone = replace(tiny, losses=replace(tiny.losses, embedding=0.0))
    work = partial(_student, out, size)
    student = work(f"reid-{seed}", tiny)
    scores = _scores(*student, size)
    rows = [
        Row("stages", "overlap only", seed, _scores(*_embedding_by(student, "none"), size)),
        Row("stages", DISTILLED, seed, scores),
        Row(
            "stages",
            "two stages",
            seed,
            _scores(*_embedding_by(work(f"detector-{seed}", alone), "teacher"), size),
        ),
    ]
    for name, teacher in (("random", RANDOM), ("ImageNet", IMAGENET)):
        other = work(f"{name}-{seed}", replace(tiny, teacher=teacher))
        rows.append(Row("teacher", name, seed, _scores(*other, size)))
    rows.append(Row("teacher", "re-identification", seed, scores))
    for dim in size.dims:
        shorter = replace(tiny, network=replace(tiny.network, dim=dim))
        rows.append(Row("elements", str(dim), seed, _scores(*work(f"dim-{dim}-{seed}", shorter), size)))
    return [*rows, Row("elements", str(tiny.network.dim), seed, scores)]


def stills(count: int) -> TrainingSet:
    """Rendered stills on which all shapes are of one class."""
    images = registry.read("synthetic:stills").images[:count]
    plain = [replace(one, labels=_unnamed(one.labels, keep=True)) for one in images]
    return TrainingSet("synthetic:stills, one class", CLASSES, plain)


def clip(word: str) -> tuple[Clip, Truth]:
    """A clip like those of the benchmark, or one of them, whose truth names no classes."""
    shown, truth = shapes.clip(word, shapes.LENGTH)
    return replace(shown, vocabulary=()), replace(truth, labels=tuple(_unnamed(one) for one in truth.labels))


def _unnamed(labels: Labels, *, keep: bool = False) -> Labels:
    """The same objects; with `keep` all are of class 0, else of none."""
    return replace(labels, classes=np.zeros(len(labels.boxes) if keep else 0, dtype=np.int64))


def _student(out: Path, size: Size, name: str, config: TdtConfig) -> Trained:
    data = SYSTEM.prepare([stills(size.training_images)], config, out / "embeddings")  # type: ignore[misc]
    card = train(SYSTEM, config, data, out / name, name="student")
    _, read, network = systems.build(cards.read(card), card.with_suffix(".safetensors"))
    return network, read


def _embedding_by(student: Trained, embedder: EmbedderName) -> Trained:
    network, config = student
    limit = 0.0 if embedder == "none" else config.tracking.cascade.appearance_limit
    cascade = replace(config.tracking.cascade, appearance_limit=limit)
    return network, replace(config, tracking=replace(config.tracking, embedder=embedder, cascade=cascade))


def _scores(network: nn.Module, config: TdtConfig, size: Size) -> dict[str, float]:
    """Choose the limit on the validation clips, then score the benchmark's."""
    limit = config.tracking.cascade.appearance_limit
    if config.tracking.embedder != "none":
        observed = [_observe(network, config, *clip(f"{VALIDATION}/{one}")) for one in range(size.validation)]
        limit = max(LIMITS, key=lambda one: _pooled(observed, config.tracking, one)["IDF1"])
    observed = [_observe(network, config, *clip(f"{TASK}/{name}")) for name in NAMES[: size.clips]]
    began = time.perf_counter()
    scores = _pooled(observed, config.tracking, limit)
    logic = time.perf_counter() - began
    precision = evaluate.score(SYSTEM, config, network, _test(size.images)).scores["AP"]
    frames = sum(len(one.detections) for one in observed)
    speed = frames / (logic + sum(one.seconds for one in observed))
    found = {**scores, "AP": precision, "limit": limit, "fps": speed}
    return {metric: float(found[metric]) for metric in METRICS}


def _test(count: int) -> TrainingSet:
    """The benchmark's first frames."""
    data = registry.read("synthetic:test")
    plain = [replace(one, labels=_unnamed(one.labels, keep=True)) for one in data.images[:count]]
    return replace(data, classes=CLASSES, images=plain)


def _observe(network: nn.Module, config: TdtConfig, clip: Clip, truth: Truth) -> Observed:
    frames = list(clip.frames())
    observe = observer(network, config, np.arange(len(config.classes)))
    observe(frames[0])  # fills caches
    began = time.perf_counter()
    detections = [observe(frame) for frame in frames]
    return Observed(clip, truth, detections, time.perf_counter() - began)


def _pooled(observed: Sequence[Observed], options: TrackingOptions, limit: float) -> Mapping[str, float]:
    """Associate what a network finds, and score it."""
    options = replace(options, cascade=replace(options.cascade, appearance_limit=limit))
    tallies = []
    for one in observed:
        state, labels = CascadeState(), []
        for detections in one.detections:
            state, found = advance(state, detections, options, one.clip.fps)
            labels.append(found)
        tallies.append(mot.tally_boxes(one.truth, labels))
    return mot.pool(tallies)


def summarise(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """Mean and standard deviation over the seeds.

    Args:
        rows: Of all trackers and seeds.

    Returns:
        (comparison, tracker) -> metric -> (mean, spread); the spread is 0 with one seed.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.comparison, row.tracker), []).append(row)
    return {
        key: {metric: _mean_spread([row.scores[metric] for row in some]) for metric in METRICS}
        for key, some in groups.items()
    }


def _mean_spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def draw(rows: Sequence[Row]) -> Figure:
    """Draw MOTA and IDF1 of each comparison: a bar is the mean, a dot one seed."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    summary = summarise(rows)
    comparisons = list(dict.fromkeys(row.comparison for row in rows))
    grid = figure.subplots(2, len(comparisons), sharey="row", squeeze=False)
    for column, comparison in enumerate(comparisons):
        some = [row for row in rows if row.comparison == comparison]
        names = list(dict.fromkeys(row.tracker for row in some))
        for line, metric in enumerate(("MOTA", "IDF1")):
            axes = grid[line, column]
            axes.bar(names, [summary[comparison, name][metric][0] for name in names], color="0.8")
            axes.plot([row.tracker for row in some], [row.scores[metric] for row in some], "k.", markersize=5)
            axes.set_ylabel(f"{metric}\n{figures.better(metric)}" if column == 0 else "")
            axes.set_xticks(
                range(len(names)), [textwrap.fill(one, 12, break_long_words=False) for one in names]
            )
            axes.set_title(TITLES[comparison] if line == 0 else "")
    figures.say_dots(figure, len({row.seed for row in rows}))
    return figure


def _table(rows: Sequence[Row]) -> bytes:
    lines = [
        [row.comparison, row.tracker, row.seed, *(f"{row.scores[name]:.4f}" for name in METRICS)]
        for row in rows
    ]
    return csv_bytes([["comparison", "tracker", "seed", *METRICS], *lines])


def _summary_table(rows: Sequence[Row]) -> bytes:
    head = ["comparison", "tracker", *(column for name in METRICS for column in (name, f"{name} spread"))]
    lines = [
        [*key, *(f"{value:.4f}" for name in METRICS for value in metrics[name])]
        for key, metrics in summarise(rows).items()
    ]
    return csv_bytes([head, *lines])
