"""Score against epoch: the checkpoints of a training as one line, with the interval of each score."""

import math
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.models import cards
from unibench.records import Score
from unibench.report.boards import Board, Setting, titles
from unibench.report.figures import FAINT, INK, colours, save
from unibench.results import store
from unibench.results.atomic import csv_bytes, replace_file

_COLUMNS, _WIDTH, _HEIGHT = 3, 3.6, 2.9  # panels in a row, inches of one


@dataclass(frozen=True)
class Point:
    """One checkpoint on one task."""

    series: str
    layer: str
    epoch: float
    setting: Setting
    score: Score


def points(board: Board, out: Path) -> list[Point]:
    """Find the headline scores of the checkpoints of a series.

    Args:
        board: The table.
        out: Root folder of the results, where the cards of the checkpoints lie.

    Returns:
        By series, layer and epoch.

    Raises:
        OutputError: No model is one of a series.
        CardError: A card beside the results is not valid.
    """
    read = {key: cards.read(path) for key, path in store.card_files(out).items()}
    moments = {key: card.series for key, card in read.items() if card.series}
    found = []
    for (_, layer, setting, metric), score in board.scores.items():
        moment = moments.get((score.model, score.weights_hash))
        if moment and metric == board.metrics[setting][0]:
            found.append(Point(moment.name, layer, moment.epoch, setting, score))
    if not found:
        raise OutputError(
            f"{out}: no checkpoints of a series; score some: unibench run --checkpoint 'ckpt-*.pth' --arch NAME"
        )
    return sorted(found, key=lambda one: (one.series, one.layer, one.epoch, str(one.setting)))


def draw(board: Board, of_series: list[Point]) -> Figure:
    """Draw one panel a task, one line a series and layer; the band is the 95 % interval over clips.

    Args:
        board: The table.
        of_series: From `points`.
    """
    panels = [setting for setting in board.settings if any(one.setting == setting for one in of_series)]
    lines = list(dict.fromkeys((one.series, one.layer) for one in of_series))
    several = len({layer for _, layer in lines}) > 1
    names = {line: " ".join(line) if several else line[0] for line in lines}
    shades = colours(list(names.values()))
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(columns * _WIDTH, 5.0), rows * _HEIGHT + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    heads = dict(zip(board.settings, titles(board), strict=True))
    for axes, setting in zip(grid.flat, panels, strict=False):
        for line in lines:
            one = [p for p in of_series if p.setting == setting and (p.series, p.layer) == line]
            _line(axes, one, catalogue.scale(board.metrics[setting][0]), shades[names[line]], names[line])
        *name, metric = heads[setting].replace("\n(partial)", " (partial)").split("\n")
        axes.set_title(" ".join(name), fontsize=9, color=INK)
        axes.set_ylabel(metric, fontsize=9)
        axes.set_xlabel("epoch", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    bands = any(not math.isnan(one.score.ci_low) for one in of_series)
    told = "band: 95 % interval over clips" if bands else "too few clips for intervals"
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9, title=told)
    return figure


def _line(axes: Axes, of_line: list[Point], scale: float, shade: str, name: str) -> None:
    x = [one.epoch for one in of_line]
    axes.plot(
        x, [scale * one.score.value for one in of_line], color=shade, marker="o", markersize=4, label=name
    )
    low, high = ([scale * getattr(one.score, end) for one in of_line] for end in ("ci_low", "ci_high"))
    axes.fill_between(x, low, high, color=shade, alpha=0.2, linewidth=0)


def write(board: Board, out: Path) -> list[Path]:
    """Write `series.svg`, `series.png` and `series.csv`.

    Args:
        board: The table.
        out: Root folder of the results; gets the files.

    Returns:
        The three paths.

    Raises:
        OutputError: No model is one of a series, or a file cannot be written.
    """
    of_series = points(board, out)
    rows: list[list[object]] = [
        ["series", "layer", "epoch", "task", "protocol", "metric", "value", "ci_low", "ci_high", "clips"]
    ]
    for one in of_series:
        score = one.score
        numbers = ("" if math.isnan(value) else value for value in (score.value, score.ci_low, score.ci_high))
        rows.append(
            [
                one.series,
                one.layer,
                f"{one.epoch:g}",
                score.task,
                score.protocol,
                score.metric,
                *numbers,
                score.clips,
            ]
        )
    figure = draw(board, of_series)
    pictures = [save(figure, Path(out, name)) for name in ("series.svg", "series.png")]
    return [*pictures, replace_file(Path(out, "series.csv"), csv_bytes(rows))]
