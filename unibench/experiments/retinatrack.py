"""RetinaTrack's comparison of joint and separate training (its figure 8), at the size of a toy, on `mot/shapes`.

As in the paper there is one class, and a detector is trained first; from it training goes on with and without the
triplet loss. The same detector is then tracked by overlap alone, by its instance features, and by a re-identification
model on its crops.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from unibench.experiments import reid
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.retinatrack import SYSTEM
from unibench.joint.retinatrack.config import VARIANTS, RetinaTrackConfig, TrackingOptions, changed
from unibench.joint.system import AnnotatedImage, EmbedderOptions, TrainingSet
from unibench.joint.training import config as configs
from unibench.joint.training import evaluate
from unibench.joint.training.train import train
from unibench.metrics import mot
from unibench.models import cards
from unibench.records import Labels, Tally, Truth
from unibench.report import figures
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry as tasks

SEEDS = (0, 1, 2)
METRICS = ("MOTA", "IDF1", "IDSW", "FP", "FN", "AP")
CLASS = "shape"


@dataclass(frozen=True)
class Size:
    """How much is trained and scored."""

    seeds: tuple[int, ...]
    before: int
    """Steps of the detector that both ways start from."""
    after: int
    """Steps with, or without, the triplet loss."""
    reid: int
    """Steps of the re-identification model."""
    clips: int
    frames: int
    """Of each clip."""
    images: int
    """For average precision."""


FULL = Size(SEEDS, 1000, 1000, 300, 8, 40, 320)
QUICK = Size(SEEDS[:1], 40, 40, 30, 2, 20, 20)


@dataclass(frozen=True)
class Row:
    """What one tracker got with one seed."""

    tracker: str
    seed: int
    scores: Mapping[str, float]


def run(out: Path, *, quick: bool = False) -> None:
    """Train, track, score; write `retinatrack.csv`, `retinatrack_summary.csv` and `retinatrack.png`.

    Trainings that are finished are not done again, and one that was interrupted goes on.

    Args:
        out: Folder of all of it.
        quick: One seed and few steps, to see that it works; the figures mean nothing then.
    """
    size = QUICK if quick else FULL
    rows = [row for seed in size.seeds for row in _rows(out / f"seed-{seed}", seed, size)]
    replace_file(out / "retinatrack.csv", _table(rows))
    summary = summarise(rows)
    replace_file(out / "retinatrack_summary.csv", _summary_table(summary))
    figures.save(draw(rows), out / "retinatrack.png")


def one_class(data: TrainingSet) -> TrainingSet:
    """The same images, whose objects are all of one class."""

    def merged(row: int) -> AnnotatedImage:
        annotated = data.images[row]
        labels = replace(annotated.labels, classes=np.zeros_like(annotated.labels.classes))
        return replace(annotated, labels=labels, ignored_classes=np.zeros_like(annotated.ignored_classes))

    return TrainingSet(f"{data.name}, one class", (CLASS,), registry.Lazy(len(data.images), merged))


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation over the seeds.

    Args:
        rows: Of all trackers and seeds.

    Returns:
        Tracker -> metric -> (mean, spread); the spread is 0 with one seed.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for name, value in row.scores.items():
            values.setdefault(row.tracker, {}).setdefault(name, []).append(value)
    return {
        tracker: {
            name: (statistics.fmean(some), statistics.stdev(some) if len(some) > 1 else 0.0)
            for name, some in metrics.items()
        }
        for tracker, metrics in values.items()
    }


def draw(rows: Sequence[Row]) -> Figure:
    """Draw MOTA, IDF1 and ID switches: a bar is the mean, a dot one seed."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    summary = summarise(rows)
    names = list(summary)
    for axes, metric in zip(figure.subplots(1, 3), ("MOTA", "IDF1", "IDSW"), strict=True):
        axes.barh(names, [summary[name][metric][0] for name in names], color="0.8")
        axes.plot([row.scores[metric] for row in rows], [row.tracker for row in rows], "k.", markersize=5)
        axes.set_title(f"{metric} ({figures.better(metric)})", fontsize=11)
        axes.invert_yaxis()
        axes.label_outer()
    figures.say_dots(figure, len({row.seed for row in rows}))
    return figure


def _rows(folder: Path, seed: int, size: Size) -> list[Row]:
    """Train and score all trackers of a seed."""
    tiny = replace(configs.read("tiny", SYSTEM), classes=(CLASS,))
    plain = changed(tiny, VARIANTS["retinatrack-without-triplet"])
    data = [one_class(registry.read("synthetic:clips"))]
    first = _stage(plain, 0, size.before, seed)
    tiny, plain = (_stage(one, 1, size.after, seed) for one in (tiny, plain))
    start = train(SYSTEM, first, data, folder / "start", name="start").with_suffix(".safetensors")
    detector = train(SYSTEM, plain, data, folder / "detector", name="detector", pretrained=start)
    both = train(SYSTEM, tiny, data, folder / "joint", name="joint", pretrained=start)
    reid_card = folder / "reid" / "reid.toml"
    if not reid_card.exists():
        reid_card = reid.train(folder / "reid", steps=size.reid, seed=seed, name="reid")
    store = tiny.tracking.store
    by_embeddings, by_overlap = tiny.tracking, replace(tiny.tracking, store=replace(store, embeddings=False))
    crops = replace(by_embeddings, reid=EmbedderOptions(str(reid_card), "embedding", reid.SIZE))
    ways = {"overlap only": by_overlap, "without triplet loss": by_embeddings, "offline re-id": crops}
    scores = _scores(detector, ways, size) | _scores(
        both, {"RetinaTrack, overlap only": by_overlap, "RetinaTrack": by_embeddings}, size
    )
    return [Row(tracker, seed, values) for tracker, values in scores.items()]


def _stage(config: RetinaTrackConfig, number: int, steps: int, seed: int) -> RetinaTrackConfig:
    """One of the config's two stages alone: the detector, or what follows from it."""
    stage = replace(config.train.stages[number], steps=steps)
    return replace(config, train=replace(config.train, stages=(stage,), seed=seed))


def _scores(card: Path, ways: Mapping[str, TrackingOptions], size: Size) -> dict[str, dict[str, float]]:
    """Track the benchmark's clips with a trained model in several ways: name of the way -> metric -> score."""
    system, config, network = systems.build(cards.read(card), card.with_suffix(".safetensors"))
    data = one_class(registry.read("synthetic:test"))
    precision = evaluate.score(system, config, network, data, limit=size.images).scores["AP"]
    scores = {}
    for name, tracking in ways.items():
        pooled = mot.pool([*_tallies(network, replace(config, tracking=tracking), size)])
        scores[name] = {metric: float((pooled | {"AP": precision})[metric]) for metric in METRICS}
    return scores


def _tallies(network: nn.Module, config: RetinaTrackConfig, size: Size) -> Iterator[Tally]:
    task, root = tasks.find("mot/shapes@private"), Path()
    for name in task.benchmark.names(root)[: size.clips]:
        clip, truth = tasks.load_clip(task, root, name, size.frames)
        found = list(SYSTEM.track(network, config, replace(clip, vocabulary=()), task))
        yield mot.tally_boxes(_unnamed(truth), found)


def _unnamed(truth: Truth) -> Truth:
    """The truth without classes: only boxes and identities are scored."""
    return replace(truth, labels=tuple(replace(one, classes=Labels().classes) for one in truth.labels))


def _table(rows: Sequence[Row]) -> bytes:
    lines = [[row.tracker, row.seed, *(f"{row.scores[name]:.4g}" for name in METRICS)] for row in rows]
    return csv_bytes([["tracker", "seed", *METRICS], *lines])


def _summary_table(summary: Mapping[str, Mapping[str, tuple[float, float]]]) -> bytes:
    head = ["tracker", *(column for name in METRICS for column in (name, f"{name} spread"))]
    lines = [
        [tracker, *(f"{value:.4g}" for name in METRICS for value in metrics[name])]
        for tracker, metrics in summary.items()
    ]
    return csv_bytes([head, *lines])
