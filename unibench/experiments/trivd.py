"""TrIVD at the size of a toy: one network finds shapes in images and clips by their names, and follows those that never
had an identity in training (the paper's tables 1, 4 and section 4.4), on rendered shapes.

It learns from three data sets: stills with squares, discs and triangles, clips in which only squares are annotated, and
noisy clips without identities. Discs and triangles are then tracked by their names alone. Two controls: the same clips
of discs under the prompt "square", and track queries that never live on to the next frame.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure
from torch import nn

from unibench.datasets.synthetic.shapes import NAMES
from unibench.evaluation.evaluate import evaluate
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.training import config as configs
from unibench.joint.training.train import train
from unibench.joint.trivd import SYSTEM
from unibench.joint.trivd.config import TrivdConfig
from unibench.metrics import mot
from unibench.models import cards
from unibench.records import Clip, Labels, Tally
from unibench.report import figures, overlay
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry as tasks

DATA = ("synthetic:stills", "synthetic:clips#square", "synthetic:noisy")
TRACKED, UNTRACKED = "square", ("disc", "triangle")
"""The class that has identities in training, and those that have none."""
MOT = ("MOTA", "IDF1")
BOARDS: Mapping[str, tuple[str, ...]] = {
    "det/shapes@coco": ("AP",),
    "det/noisy@coco": ("AP",),
    "det/noisy@video": ("AP",),
    "det/noisy@video7": ("AP",),
    **{f"mot/shapes:{name}@private": MOT for name in (TRACKED, *UNTRACKED)},
}
"""Task -> what is reported of it."""
CONTROL = f"mot/shapes:{UNTRACKED[0]}@private"
WRONG, OFF = f"prompt {TRACKED!r}", "track queries off"
"""Controls, done with the clips of the first class that was never tracked."""
COLUMNS = (
    *((task, metric) for task, metrics in BOARDS.items() for metric in metrics),
    *((name, metric) for name in (WRONG, OFF) for metric in MOT),
)
SHOWN = (0, 3, 6, 9, 12, 15)
"""Frames that are drawn."""


@dataclass(frozen=True)
class Size:
    """How much is trained and scored."""

    seeds: tuple[int, ...]
    steps: int | None
    """Of each stage; None: those of the config."""
    frames: int | None
    """Of each clip; None: all."""


FULL = Size((0, 1, 2), None, None)
QUICK = Size((0,), 2, 2)


@dataclass(frozen=True)
class Row:
    """What one network got."""

    seed: int
    scores: Mapping[tuple[str, str], float]
    """Of `COLUMNS`."""


def run(out: Path, *, quick: bool = False) -> None:
    """Train, track, score; write `trivd.csv`, `trivd_summary.csv` and a clip under three prompts, `trivd.png`.

    Trainings and scores that are finished are not made again, and a training that was interrupted goes on.

    Args:
        out: Folder of all of it.
        quick: One seed and few steps, to see that it works; the figures mean nothing then.
    """
    size = QUICK if quick else FULL
    found = {seed: train_seed(out, seed, size) for seed in size.seeds}
    rows = [Row(seed, score(out, card, size)) for seed, card in found.items()]
    replace_file(
        out / "trivd.csv", csv_bytes([["seed", *_heads()], *([one.seed, *_cells(one)] for one in rows)])
    )
    replace_file(out / "trivd_summary.csv", _summary_table(rows))
    figures.save(draw(found[size.seeds[0]]), out / "trivd.png")


def train_seed(out: Path, seed: int, size: Size) -> Path:
    """Train the network of one seed, or find it trained: its card."""
    config: TrivdConfig = configs.read("tiny", SYSTEM)
    options = replace(config.train, seed=seed)
    options = configs.with_steps(options, size.steps) if size.steps else options
    name = f"trivd-{seed}"
    data = [registry.read(spec) for spec in DATA]
    return train(SYSTEM, replace(config, train=options), data, out / name, name=name, half=True)


def score(out: Path, card: Path, size: Size) -> dict[tuple[str, str], float]:
    """Fill the boards as `unibench run` does, and do the controls.

    Args:
        out: Folder of the results.
        card: Of a trained network, whose weights lie beside it.
        size: Says how many frames.
    """
    board = evaluate([str(card)], list(BOARDS), output=out / "results", frames=size.frames)
    scores = {
        (task, row.metric): row.value
        for row in board.rows
        if row.metric in BOARDS.get(task := f"{row.task}@{row.protocol}", ())
    }
    _, config, network = systems.build(cards.read(card), card.with_suffix(".safetensors"))
    once = replace(config.tracking, track_score=1.0, return_score=1.0, patience=0)
    controls: dict[str, tuple[TrivdConfig, Callable[[Clip], Clip]]] = {
        WRONG: (config, lambda clip: replace(clip, vocabulary=(TRACKED,))),
        OFF: (replace(config, tracking=once), lambda clip: clip),
    }
    for name, (other, prompted) in controls.items():
        pooled = mot.pool([*_tallies(network, other, prompted, size)])
        scores |= {(name, metric): float(pooled[metric]) for metric in MOT}
    return scores


def _tallies(
    network: nn.Module, config: TrivdConfig, prompted: Callable[[Clip], Clip], size: Size
) -> Iterator[Tally]:
    task, root = tasks.find(CONTROL), Path()
    for name in task.benchmark.names(root):
        clip, truth = tasks.load_clip(task, root, name, size.frames)
        yield mot.tally_boxes(truth, list(SYSTEM.track(network, config, prompted(clip), task)))


def draw(card: Path) -> Figure:
    """Draw one clip under the prompt of each class.

    Args:
        card: Of a trained network, whose weights lie beside it.
    """
    _, config, network = systems.build(cards.read(card), card.with_suffix(".safetensors"))
    rows: list[tuple[str, Sequence[Labels]]] = []
    for name in (TRACKED, *UNTRACKED):
        task = tasks.find(f"mot/shapes:{name}@private")
        clip, _ = tasks.load_clip(task, Path(), NAMES[0])
        rows.append((name, list(SYSTEM.track(network, config, clip, task))))
    images = [frame.image for frame in clip.frames()]
    figure = overlay.strips(images, rows, SHOWN)
    figure.set_size_inches(8.0, 4.2)
    return figure


def _summary_table(rows: Sequence[Row]) -> bytes:
    """Mean and standard deviation over the seeds, one line a column of the other table."""
    lines = []
    for (about, metric), values in zip(COLUMNS, zip(*map(_values, rows), strict=True), strict=True):
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        lines.append([about, metric, len(values), f"{statistics.fmean(values):.4g}", f"{spread:.2g}"])
    return csv_bytes([["task", "metric", "seeds", "mean", "spread"], *lines])


def _values(row: Row) -> list[float]:
    return [row.scores[column] for column in COLUMNS]


def _cells(row: Row) -> list[str]:
    return [f"{value:.4g}" for value in _values(row)]


def _heads() -> list[str]:
    return [f"{about} {metric}" for about, metric in COLUMNS]
