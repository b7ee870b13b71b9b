"""Unicorn's unified tracking and two of its ablations (its tables 6 and 7) at the size of a toy, on rendered shapes.

One set of weights stands on four boards, as `unibench run` fills them. Beside it, from the same detector on and without
masks: networks without the target prior, without the interaction of the two frames, and such that learn one of the two
objectives alone.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from unibench.datasets.synthetic.shapes import NAMES
from unibench.evaluation.evaluate import evaluate
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.system import Objective
from unibench.joint.training import config as configs
from unibench.joint.training.train import train
from unibench.joint.unicorn import SYSTEM
from unibench.joint.unicorn.config import UnicornConfig
from unibench.models import cards
from unibench.records import Labels
from unibench.report import figures, overlay
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry as tasks

METRICS = {
    "sot/shapes@box": ("AUC", "AO"),
    "vos/shapes@box": ("J-mean", "J&F"),
    "mot/shapes@private": ("MOTA", "IDF1"),
    "mots/shapes@private": ("sMOTSA", "IDF1"),
}
"""Task -> what is reported of it."""
BOXES = ("sot/shapes@box", "mot/shapes@private")
"""Tasks of the networks without masks."""
DONE = {"sot alone": BOXES[:1], "mot alone": BOXES[1:]}
"""Variant -> its tasks, where they are not all of `BOXES`."""
JOINT = "Unicorn"
SHOWN = (0, 3, 6, 9, 12, 15)
"""Frames that are drawn."""


@dataclass(frozen=True)
class Size:
    """How much is trained and scored."""

    seeds: tuple[int, ...]
    ablation_seeds: tuple[int, ...]
    steps: int | None
    """Of each stage; None: those of the config."""
    frames: int | None
    """Of each clip; None: all."""


FULL = Size((0, 1, 2), (0,), None, None)
QUICK = Size((0,), (0,), 4, 3)


@dataclass(frozen=True)
class Row:
    """What one network got with one seed."""

    variant: str
    seed: int
    scores: Mapping[tuple[str, str], float]
    """(task, metric) -> score; NaN where the network does not do the task."""


def variants(config: UnicornConfig) -> dict[str, UnicornConfig]:
    """The networks that are compared with the whole one: boxes alone, from the same detector on."""
    boxes = replace(config, train=replace(config.train, stages=config.train.stages[1:2]))
    return {
        "without target prior": replace(boxes, network=replace(config.network, prior=False)),
        "without interaction": replace(boxes, network=replace(config.network, interaction=False)),
        "sot alone": _alone(boxes, "sot"),
        "mot alone": _alone(boxes, "mot"),
    }


def _alone(config: UnicornConfig, objective: Objective) -> UnicornConfig:
    """The batches of one objective, as many as the whole network sees of it."""
    stages = tuple(
        replace(stage, alternate=(objective,), steps=-(-stage.steps // len(stage.alternate)))
        for stage in config.train.stages
    )
    return replace(config, train=replace(config.train, stages=stages))


def run(out: Path, *, quick: bool = False) -> None:
    """Train, track, score; write `unicorn.csv`, `unicorn_summary.csv` and a clip in four tasks, `unicorn.png`.

    Trainings and scores that are finished are not made again, and a training that was interrupted goes on.

    Args:
        out: Folder of all of it.
        quick: One seed and few steps, to see that it works; the figures mean nothing then.
    """
    size = QUICK if quick else FULL
    toy: UnicornConfig = configs.read("toy", SYSTEM)
    whole = {seed: train_variant(out, JOINT, toy, seed, size) for seed in size.seeds}
    rows = [_row(out, JOINT, seed, card, METRICS, size) for seed, card in whole.items()]
    for seed in size.ablation_seeds:
        detector = replace(toy, train=replace(toy.train, stages=toy.train.stages[:1]))
        start = train_variant(out, "detector", detector, seed, size).with_suffix(".safetensors")
        for name, config in variants(toy).items():
            card = train_variant(out, name, config, seed, size, start)
            rows.append(_row(out, name, seed, card, DONE.get(name, BOXES), size))
    replace_file(out / "unicorn.csv", _table(rows))
    replace_file(out / "unicorn_summary.csv", _summary_table(rows))
    figures.save(draw(whole[size.seeds[0]]), out / "unicorn.png")


def train_variant(
    out: Path, variant: str, config: UnicornConfig, seed: int, size: Size, start: Path | None = None
) -> Path:
    """Train one network, or find it trained: its card.

    Args:
        out: Folder of the experiment.
        variant: What it is called.
        config: Of the network; its seed is replaced.
        seed: Of the training.
        size: Says how many steps.
        start: Weights to begin with.
    """
    name = f"{variant.replace(' ', '-').lower()}-{seed}"
    data = [registry.read("synthetic:clips")]
    return train(SYSTEM, _seeded(config, seed, size), data, out / name, name=name, pretrained=start)


def _row(out: Path, variant: str, seed: int, card: Path, done: Collection[str], size: Size) -> Row:
    found = evaluate([str(card)], list(done), output=out / "results", frames=size.frames)
    scores = {
        (f"{row.task}@{row.protocol}", row.metric): row.value
        for row in found.rows
        if row.metric in METRICS[f"{row.task}@{row.protocol}"]
    }
    return Row(variant, seed, scores)


def _seeded(config: UnicornConfig, seed: int, size: Size) -> UnicornConfig:
    options = replace(config.train, seed=seed)
    return replace(config, train=configs.with_steps(options, size.steps) if size.steps else options)


def draw(card: Path) -> Figure:
    """Draw one clip in four tasks; frame 0 of the first two holds the prompt.

    Args:
        card: Of a trained network, whose weights lie beside it.
    """
    _, config, network = systems.build(cards.read(card), card.with_suffix(".safetensors"))
    track = partial(SYSTEM.track, network, config)
    rows: list[tuple[str, Sequence[Labels]]] = []
    for spec in METRICS:
        task = tasks.find(spec)
        clip, _ = tasks.load_clip(task, Path(), NAMES[0])
        rows.append((spec.partition("/")[0].upper(), list(track(clip, task))))
    images = [frame.image for frame in clip.frames()]
    figure = overlay.strips(images, rows, SHOWN)
    figure.set_size_inches(8.0, 5.4)
    return figure


def _table(rows: Sequence[Row]) -> bytes:
    lines = [[row.variant, row.seed, *map(_cell, _scores(row))] for row in rows]
    return csv_bytes([["variant", "seed", *_heads()], *lines])


def _summary_table(rows: Sequence[Row]) -> bytes:
    """Mean and standard deviation over the seeds; without one where there is one seed."""
    lines = []
    for variant in dict.fromkeys(row.variant for row in rows):
        some = [_scores(row) for row in rows if row.variant == variant]
        cells = []
        for values in zip(*some, strict=True):
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            cells += [_cell(statistics.fmean(values)), _cell(spread)]
        lines.append([variant, len(some), *cells])
    heads = [one for head in _heads() for one in (head, f"{head} spread")]
    return csv_bytes([["variant", "seeds", *heads], *lines])


def _scores(row: Row) -> list[float]:
    return [
        row.scores.get((task, metric), math.nan) for task, metrics in METRICS.items() for metric in metrics
    ]


def _heads() -> list[str]:
    return [f"{task.partition('/')[0]} {metric}" for task, metrics in METRICS.items() for metric in metrics]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"
