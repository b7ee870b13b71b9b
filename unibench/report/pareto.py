"""Quality against cost, one panel a task. The front is drawn only where the paired test tells its rows apart."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.report import costs, labels
from unibench.report.boards import Board, Setting, titles
from unibench.report.compare import RowKey, told_apart
from unibench.report.costs import Costs
from unibench.report.figures import FAINT, GREY, INK, group_colours, group_handles, save

AXES = {
    "ms": "milliseconds a frame",
    "GFLOPs": "GFLOPs a frame",
    "MB": "megabytes (10^6) of weights and maps",
    "parameters": "parameters",
}
"""What quality can be held against -> the axis."""
_COLUMNS, _WIDTH, _HEIGHT = 2, 5.6, 4.2  # panels in a row, inches of one
_FOOT = 1.1  # inches


@dataclass(frozen=True)
class Point:
    """One row of one column."""

    key: RowKey
    cost: float
    """As the axis shows it."""
    value: float
    """As boards print it."""
    nominal: bool
    """No cheaper row scores as well."""
    front: bool
    """And the test tells it from the best of the cheaper rows; the cheapest row begins the front."""


def points(board: Board, found: Costs, out: Path, setting: Setting, cost: str) -> list[Point]:
    """Find the front of one task.

    Args:
        board: The table.
        found: What its rows cost.
        out: Root folder of the results, with the clips that the test reads.
        setting: The task.
        cost: A key of `AXES`.

    Returns:
        Every row that has a score and a cost above 0, the cheapest first, of equal cost the best.
    """
    metric = board.metrics[setting][0]
    sign = catalogue.find(metric).direction
    rows = sorted(
        (value, -sign * score.value, key)
        for key, one in found.items()
        if key[2] == setting
        and not math.isnan((score := board.scores[*key, metric]).value)
        and (value := float(one.parameters) if cost == "parameters" else costs.values(one)[cost]) > 0
    ) if sign else []  # fmt: skip
    cheaper = [min(rows[: end + 1], key=itemgetter(1)) for end in range(len(rows))]  # the best up to each row
    pairs = list(zip(cheaper, rows[1:], strict=False))
    better = [row[1] < best[1] for best, row in pairs]
    apart = told_apart(board, out, setting, [(best[2], row[2]) for best, row in pairs])
    front = [True, *(one and other for one, other in zip(better, apart, strict=True))]
    scale = catalogue.scale(metric)
    return [
        Point(key, value, -sign * scale * worse, nominal, ahead)
        for (value, worse, key), nominal, ahead in zip(rows, [True, *better], front, strict=False)
    ]


def write(board: Board, found: Costs, out: Path, cost: str = "ms") -> list[Path]:
    """Write `pareto.svg` and `pareto.png`.

    Args:
        board: The table.
        found: What its rows cost.
        out: Root folder of the results; gets the files.
        cost: A key of `AXES`.

    Returns:
        The two paths.

    Raises:
        OutputError: No cost is known, times are of several machines, or a file cannot be written.
    """
    machines = sorted({costs.machine(one) for one in found.values()})
    if cost == "ms" and len(machines) > 1:
        raise OutputError(f"{out}: times were taken on {' and on '.join(machines)}, expected one machine; measure "
                          "again with run --overwrite always, or choose --cost GFLOPs")  # fmt: skip
    panels = {setting: points(board, found, out, setting, cost) for setting in board.settings}
    panels = {setting: laid for setting, laid in panels.items() if laid}
    if not panels:
        raise OutputError(
            f"{out}: no cost of any row is known; unibench run with these models and tasks measures them"
        )
    figure = _draw(board, panels, cost, machines[0])
    return [save(figure, Path(out, name)) for name in ("pareto.svg", "pareto.png")]


def _draw(board: Board, panels: dict[Setting, list[Point]], cost: str, machine: str) -> Figure:
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = max(columns * _WIDTH, 7.0), rows * _HEIGHT + _FOOT
    figure = Figure(figsize=(width, height))
    heads = dict(zip(board.settings, titles(board), strict=True))
    for place, (setting, laid) in enumerate(panels.items()):
        row, column = divmod(place, columns)
        left, low = (column + 0.13) / columns, 1 - (row * _HEIGHT + _HEIGHT - 0.62) / height
        axes = figure.add_axes((left, low, 0.82 / columns, (_HEIGHT - 1.05) / height))
        *name, metric = heads[setting].replace("\n(partial)", " (partial)").split("\n")
        axes.set_title(" ".join(name), fontsize=10, color=INK)
        axes.set_ylabel(metric, fontsize=9)
        axes.set_xlabel(f"{AXES[cost]}, on {machine}" if cost == "ms" else AXES[cost], fontsize=9)
        _panel(axes, board, laid)
    figure.legend(
        handles=group_handles(board.models, {"linestyle": "none", "marker": "o"}, {"linestyle": "none", "marker": "s"}),
        loc="lower center", bbox_to_anchor=(0.5, 0.55 / height), ncols=5, frameon=False, fontsize=9,
    )  # fmt: skip
    told = (
        "Full dot: better than the best cheaper row, and the paired permutation test over clips says so (p below "
        ".05, Holm-adjusted over the rows); the cheapest row begins the front. Hollow: better than the best cheaper "
        "row, but not told apart from it. Small: a cheaper row scores as well."
    )
    lines = textwrap.wrap(told, int(width * 15))
    figure.text(0.5, 0.1 / height, "\n".join(lines), ha="center", va="bottom", fontsize=8, color=INK)
    return figure


def _panel(axes: Axes, board: Board, laid: Sequence[Point]) -> None:
    colour = group_colours(board.models)
    references = {model.name for model in board.models if model.supervised_reference}
    axes.set_xscale("log")
    for one in laid:
        shade = colour[one.key[0]]
        axes.plot(
            one.cost, one.value, marker="s" if one.key[0] in references else "o", color=shade, linestyle="none",
            markersize=6 if one.nominal else 3.5, zorder=3, gid=f"dot:{one.key[0]}:{one.key[1]}",
            markerfacecolor=shade if one.front or not one.nominal else "white",
        )  # fmt: skip
    front = [one for one in laid if one.front]
    axes.margins(0.12)
    if len(front) > 1:
        right = axes.get_xlim()[1]
        axes.step(
            [*(one.cost for one in front), right], [*(one.value for one in front), front[-1].value], where="post",
            color=GREY, linewidth=1.2, zorder=2, gid="front",
        )  # fmt: skip
        axes.set_xlim(right=right)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    several = {name for name, layers in board.layers.items() if len(layers) > 1}
    named = {model.name: model.label for model in board.models}
    axes.set_ylim(axes.get_ylim())
    labels.name_dots(
        axes,
        [
            f"{named[name]} {layer}" if name in several else named[name]
            for name, layer, _ in (one.key for one in laid)
        ],
        np.array([[one.cost, one.value] for one in laid]),
    )
