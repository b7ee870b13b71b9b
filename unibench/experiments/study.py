"""A study in which only the objective differs: the networks of the zoo on all rendered tasks.

UniTrack finds that accuracy on ImageNet hardly foretells tracking, and that supervised features are not the best. Its
networks differ in data, augmentation and length of training; those of the zoo share their data, and learn for less than
a minute each. In place of ImageNet stands the k-NN accuracy of frozen features on images that no network has seen.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from unibench.datasets.synthetic.scene import draws
from unibench.evaluation.evaluate import evaluate
from unibench.features import knn_probe
from unibench.metrics import catalogue
from unibench.models import cards, frozen
from unibench.models.cards import Card
from unibench.report import boards, card_facts, correlation, figures, labels, leaderboard, radar, stored
from unibench.report.boards import Board
from unibench.report.compare import ties
from unibench.results.atomic import csv_bytes, replace_file
from unibench.ssl import diet, photographs
from unibench.stats.correlation import Correlation, correlate
from unibench.tasks.registry import RENDERED

PATTERN = "zoo-*"
"""Cards of the study."""
EACH = 40
"""Images of a class that are neighbours, and as many that are asked about."""
LOSSES = "losses.csv"
"""In the folder of the study, where it is kept: model, step, loss, the mean of ten steps of its training."""


@dataclass(frozen=True)
class Images:
    """Images by class, which no network of the zoo has seen."""

    known: tuple[UInt8[np.ndarray, "side side 3"], ...]
    labels: Int[np.ndarray, " image"]
    """Of the known images, and of those asked about: there are as many of each class in either."""
    asked: tuple[UInt8[np.ndarray, "side side 3"], ...]


@dataclass(frozen=True)
class Method:
    """One objective on one network, with all its seeds."""

    name: str
    """Name of the card of the first seed."""
    probes: Float[np.ndarray, "seed probe"]
    """k-NN accuracy, fractions."""
    scores: Float[np.ndarray, "seed task"]
    """Headlines."""


def run(out: Path, *, quick: bool = False) -> None:
    """Score and probe every card of the zoo; write the boards, `probe.csv`, `study.csv` and two figures.

    Clips that are scored already are not scored again.

    Args:
        out: Folder of all of it.
        quick: Two tasks, six frames a clip: to see that it works; the figures mean nothing then.

    Raises:
        DataError: A photograph of the probe is not installed.
    """
    found = [cards.find(name) for name in sorted(cards.paths()) if fnmatchcase(name, PATTERN)]
    evaluate(found, RENDERED[:2] if quick else RENDERED, output=out, frames=6 if quick else None)
    scores = [one for one in stored.scores(out) if fnmatchcase(one.model, PATTERN)]
    board = boards.arrange(scores, card_facts.collect(one.model for one in scores), out)
    tied = ties(board, out)
    leaderboard.write(board, out, tied)
    radar.write(board, out, tied)
    correlation.write(board, out)
    probes = {"photographs": photographs_probe(), "shapes": shapes_probe()}
    probed = {card.name: [accuracy(card, images) for images in probes.values()] for card in found}
    replace_file(
        out / "probe.csv", csv_bytes([["model", *probes], *([n, *_rounded(v)] for n, v in probed.items())])
    )
    methods = gather(board, probed)
    rows = correlations(methods, list(probes), _names(board))
    replace_file(out / "study.csv", csv_bytes([_HEAD, *(_row(x, y, one) for (x, y), one in rows.items())]))
    figures.save(draw_probe(methods, board, next(iter(probes)), rows), out / "probe.png")
    figures.save(draw_seeds(methods, board), out / "seeds.png")
    if (out / LOSSES).is_file():
        figures.save(draw_losses(out / LOSSES), out / "losses.png")


def photographs_probe() -> Images:
    """Windows of the held-out photographs; a class is a photograph: left half known, right half asked about."""
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    rows = photographs.manifest("probe")
    for row in rows:
        image, rng = photographs.read(row, diet.SIDE), draws("ssl", "probe", row.sha256)
        middle = image.shape[1] // 2
        for half, part in zip(halves, (image[:, :middle], image[:, middle:]), strict=True):
            half.extend(np.asarray(diet.window(part, rng, diet.WINDOW)) for _ in range(EACH))
    return Images(tuple(halves[0]), np.repeat(np.arange(len(rows)), EACH), tuple(halves[1]))


def shapes_probe() -> Images:
    """Windows around rendered shapes of seeds of their own, in front of held-out photographs."""
    drawn: dict[int, list[np.ndarray]] = {number: [] for number in range(diet.CLASSES)}
    images, rng = diet.prepare("probe", windows=1, clips=40), draws("ssl", "probe", "shapes")
    while any(len(some) < 2 * EACH for some in drawn.values()):
        image, label = diet.shape(images, rng)
        drawn[label].append(np.asarray(image))
    labels = np.repeat(np.arange(diet.CLASSES), EACH)
    known = [image for some in drawn.values() for image in some[:EACH]]
    return Images(
        tuple(known), labels, tuple(image for some in drawn.values() for image in some[EACH : 2 * EACH])
    )


def accuracy(card: Card, images: Images, k: int = knn_probe.K) -> float:
    """k-NN accuracy of a card's default layer, average-pooled, a fraction."""
    model = frozen.load(card)
    known, asked = (
        knn_probe.embed(model, card.default_layer, some, knn_probe.BATCH)
        for some in (images.known, images.asked)
    )
    said = knn_probe.classify(known, images.labels, asked, k)
    return float((said == images.labels).mean())


def method_of(name: str) -> str:
    """Name of the first seed's card: `NAME-s1` is another seed of `NAME`."""
    base, mark, number = name.rpartition("-s")
    return base if mark and number.isdigit() else name


def gather(board: Board, probed: Mapping[str, Sequence[float]]) -> list[Method]:
    """Put the seeds of every method together."""
    headlines = dict(zip((model.name for model in board.models), boards.headlines(board), strict=True))
    seeds: dict[str, list[str]] = {}
    for name in sorted(headlines):
        seeds.setdefault(method_of(name), []).append(name)
    return [
        Method(
            name,
            np.array([probed[one] for one in names]),
            np.stack([headlines[one] for one in names]),
        )
        for name, names in seeds.items()
    ]


def correlations(
    methods: Sequence[Method], probes: Sequence[str], tasks: Sequence[str]
) -> dict[tuple[str, str], Correlation]:
    """Every probe with every task; a method is one point, the mean of its seeds."""
    x = np.stack([one.probes.mean(axis=0) for one in methods])
    y = np.stack([one.scores.mean(axis=0) for one in methods])
    return {
        (probe, task): correlate(x[:, column].tolist(), y[:, row].tolist())
        for column, probe in enumerate(probes)
        for row, task in enumerate(tasks)
    }


def draw_probe(
    methods: Sequence[Method], board: Board, probe: str, rows: Mapping[tuple[str, str], Correlation]
) -> Figure:
    """Draw every task against the first probe: a dot is the mean of a method's seeds, bars are their range."""
    figure = Figure(figsize=(14, 7), layout="constrained")
    colours = figures.colours([one.name for one in methods])
    panels = figure.subplots(2, 4).flat
    for column, (name, axes) in enumerate(zip(_names(board), panels, strict=False)):
        scale = catalogue.scale(board.metrics[board.settings[column]][0])
        for one in methods:
            x, y = 100 * one.probes[:, 0], scale * one.scores[:, column]
            axes.errorbar(
                x.mean(),
                y.mean(),
                xerr=_reach(x),
                yerr=_reach(y),
                fmt="o",
                markersize=5,
                color=colours[one.name],
            )
        axes.set_title(f"{name}\n{_words(rows[probe, name])}", fontsize=9)
        axes.set_xlabel(f"k-NN accuracy, {probe}", fontsize=8)
        axes.margins(0.12)
    for axes in panels:
        axes.set_axis_off()
    figure.draw_without_rendering()  # panels get their places, which names are laid out by
    names = [one.name.removeprefix("zoo-") for one in methods]
    for column, axes in enumerate(figure.axes[: len(board.settings)]):
        scale = catalogue.scale(board.metrics[board.settings[column]][0])
        dots = [(100 * one.probes[:, 0].mean(), scale * one.scores[:, column].mean()) for one in methods]
        labels.name_dots(axes, names, np.array(dots))
    return figure


def draw_seeds(methods: Sequence[Method], board: Board) -> Figure:
    """Draw every task: a row is a method, a dot one seed, so that seeds stand beside methods."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    names = [one.name.removeprefix("zoo-") for one in methods]
    for column, (axes, name) in enumerate(
        zip(figure.subplots(1, len(board.settings)), _names(board), strict=True)
    ):
        scale = catalogue.scale(board.metrics[board.settings[column]][0])
        for row, one in enumerate(methods):
            values = scale * one.scores[:, column]
            axes.plot(values, np.full(len(values), row), "k.", markersize=6, alpha=0.7)
            axes.plot([values.min(), values.max()], [row, row], color="0.6", linewidth=1)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_title(name, fontsize=9)
        axes.grid(axis="y", color="0.9")
        axes.label_outer()
    return figure


def draw_losses(path: Path) -> Figure:
    """Draw how the loss of every training fell, a panel a method, a line a seed."""
    lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            seeds = lines.setdefault(method_of(row["model"]), {})
            seeds.setdefault(row["model"], []).append((int(row["step"]), float(row["loss"])))
    figure = Figure(figsize=(14, 5), layout="constrained")
    for axes, (name, seeds) in zip(figure.subplots(2, 6).flat, lines.items(), strict=False):
        for points in seeds.values():
            axes.plot(*zip(*points, strict=True), linewidth=1)
        axes.set_title(name.removeprefix("zoo-"), fontsize=9)
        axes.tick_params(labelsize=7)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("loss, mean of ten steps", fontsize=9)
    return figure


_HEAD = ("probe", "task", "n", "pearson", "pearson_low", "pearson_high", "pearson_p", "spearman", "spearman_low",
         "spearman_high", "spearman_p")  # fmt: skip


def _row(probe: str, task: str, found: Correlation) -> list[object]:
    values: list[float | None] = []
    for value, interval, p in (
        (found.pearson, found.pearson_interval, found.pearson_p),
        (found.spearman, found.spearman_interval, found.spearman_p),
    ):
        values += [value, *((interval.low, interval.high) if interval else (None, None)), p]
    return [probe, task, found.n, *("" if one is None else f"{one:.3f}" for one in values)]


def _words(found: Correlation) -> str:
    if found.spearman is None or found.spearman_interval is None:
        return f"n = {found.n}"
    low, high = found.spearman_interval.low, found.spearman_interval.high
    return f"$\\rho$ = {found.spearman:+.2f} [{low:+.2f}, {high:+.2f}], p = {found.spearman_p:.2f}, n = {found.n}"


def _names(board: Board) -> list[str]:
    return [f"{setting.task} {board.metrics[setting][0]}" for setting in board.settings]


def _reach(values: Float[np.ndarray, " seed"]) -> list[list[float]]:
    """From the mean down to the least, and up to the greatest."""
    return [[float(values.mean() - values.min())], [float(values.max() - values.mean())]]


def _rounded(values: Sequence[float]) -> list[str]:
    return [f"{value:.4f}" for value in values]
