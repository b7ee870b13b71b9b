"""Correlations: does ImageNet accuracy foretell tracking, and does one task foretell another?

With few models most coefficients cannot be distinguished from 0. Each stands with its 95 % interval and a permutation
p, adjusted after Holm over the panels of the figure or over the pairs of tasks; if that is not below 0.05 it is pale.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import linregress

from unibench.metrics import catalogue
from unibench.report import labels
from unibench.report.boards import OTHER_RUN, Board, headlines, published_note, titles
from unibench.report.correlation_tests import (
    BoardCorrelations,
    TestedCorrelation,
    correlate_board,
    correlated,
    top1_of,
)
from unibench.report.figures import FAINT, GREY, INK, group_colours, group_handles, save
from unibench.results.atomic import csv_bytes, replace_file
from unibench.stats.bootstrap import Interval
from unibench.stats.correlation import FEWEST_MODELS, Correlation

TOP1 = "imagenet_top1"
_NEED = f"a correlation needs at least {FEWEST_MODELS}."
_COLUMNS = 3
_WIDTH, _PANEL = 13.0, 3.9  # inches
_PERFECT = (
    "No interval: for a coefficient of +1 or -1 the formula (Fisher's) gives no width, which is no certainty; "
    "with few models, p says how easily chance puts all in one order."
)
_PALE = 0.25  # opacity of what cannot be distinguished from 0
_HEAD = [
    "x", "y", "n",
    *(f"{name}{what}" for name in ("pearson", "spearman")
      for what in ("", "_low", "_high", "_p", "_p_holm", "_without_one_least", "_without_one_greatest")),
]  # fmt: skip


def write(board: Board, out: Path) -> list[Path]:
    """Write `correlation.csv`, `correlation.svg` and `correlation.png`.

    The CSV has one row for ImageNet top-1 against every task and for every pair of tasks. For Pearson's r and for
    Spearman's rho it has the 95 % interval, the permutation p, the same adjusted after Holm (over the rows with top-1,
    or over the pairs of tasks), and the least and the greatest coefficient when one model is left out. What is not
    defined, as everything below five models, is blank.

    Args:
        board: The table; every model enters with its better layer, every task with its headline.
        out: Folder to write to.

    Returns:
        The three paths.

    Raises:
        OutputError: A file cannot be written.
    """
    found = correlate_board(board)
    names = [f"{setting} {board.metrics[setting][0]}" for setting in board.settings]
    rows = [[TOP1, name, *_cells(tested)] for name, tested in zip(names, found.panels, strict=True)]
    rows += [[names[x], names[y], *_cells(tested)] for (x, y), tested in found.pairs.items()]
    figure = _draw(found)
    return [
        replace_file(Path(out, "correlation.csv"), csv_bytes([_HEAD, *rows])),
        *(save(figure, Path(out, name)) for name in ("correlation.svg", "correlation.png")),
    ]


def draw(board: Board) -> Figure:
    """Draw every task against ImageNet top-1, and the rank correlation of every pair of tasks.

    What cannot be drawn for want of models is said in words.

    Args:
        board: As for `write`.

    Returns:
        The figure.

    Reference:
        UniTrack (NeurIPS 2021), Figure 6.
    """
    return _draw(correlate_board(board))


def _cells(tested: TestedCorrelation) -> list[str]:
    found = tested.correlation
    pearson = [found.pearson, *_ends(found.pearson_interval), found.pearson_p, tested.pearson_p]
    spearman = [found.spearman, *_ends(found.spearman_interval), found.spearman_p, tested.spearman_p]
    values = [*pearson, *_ends(found.pearson_range), *spearman, *_ends(found.spearman_range)]
    return [str(found.n), *map(_decimals, values)]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _draw(found: BoardCorrelations) -> Figure:
    board, pairs = found.board, found.pairs
    known = int(np.isfinite(top1_of(board)).sum())
    any_pair = any(pair.correlation.spearman is not None for pair in pairs.values())
    # Inches. Placed by hand: constrained layout differs in the last digits from run to run, and so would the file.
    upper = _PANEL * math.ceil(len(board.settings) / _COLUMNS) + 1.1 if known >= FEWEST_MODELS else 0.6
    lower = _cell(board) * len(board.settings) + 2.9 if any_pair else 0.6
    figure = Figure(figsize=(_WIDTH, upper + lower + 0.3))
    if known >= FEWEST_MODELS:
        _draw_scatter(figure, found, lower + 0.3)
    else:
        _say(
            figure, lower + 0.6, f"ImageNet top-1 is known for {known} of {len(board.models)} models; {_NEED}"
        )
    if any_pair:
        _draw_heat(figure, found)
    elif pairs:
        most = max(pair.correlation.n for pair in pairs.values())
        _say(figure, 0.6, f"No two tasks can be correlated: at most {most} models were run on both; {_NEED}")
    else:
        _say(figure, 0.6, "Only one task was run: there is no other to correlate it with.")
    every = [*found.panels, *pairs.values()]
    notes = [
        _PERFECT if any(_perfect(tested.correlation) for tested in every) else "",
        f"{published_note(board)}." if board.published else "",
    ]
    _say(figure, 0.2, "  ".join(filter(None, notes)), size=9)
    return figure


def _perfect(found: Correlation) -> bool:
    """Whether a coefficient is there that has no interval."""
    return (found.pearson is not None and found.pearson_interval is None) or (
        found.spearman is not None and found.spearman_interval is None
    )


def _draw_scatter(figure: Figure, found: BoardCorrelations, lowest: float) -> None:
    """One panel a task, above a height in inches; the legend stands below them."""
    board, height = found.board, figure.get_figheight()
    rows = math.ceil(len(board.settings) / _COLUMNS)
    grid = figure.add_gridspec(
        rows, _COLUMNS, left=0.06, right=0.985, top=1 - 0.9 / height, bottom=(lowest + 1.2) / height,
        wspace=0.22, hspace=0.55,
    )  # fmt: skip
    panels = [figure.add_subplot(grid[divmod(index, _COLUMNS)]) for index in range(len(board.settings))]
    unnamed = 0
    for axes, title, setting, y, tested in zip(
        panels, titles(board), board.settings, headlines(board).T, found.panels, strict=True
    ):
        scale = catalogue.scale(board.metrics[setting][0])
        unnamed += _draw_panel(axes, board, scale * y, tested)
        *name, metric = title.replace("\n(partial)", " (partial)").split("\n")
        axes.set_title(f"{' '.join(name)}\n{_words(tested)}", fontsize=8.5, color=INK)
        axes.set_ylabel(metric, fontsize=9)
    handles = group_handles(board.models, {"marker": "o", "linestyle": ""}, {"marker": "D", "linestyle": ""})
    anchor = (0.5, (lowest + 0.3) / height)
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=anchor, ncols=6, frameon=False, fontsize=9
    )
    more = f" {unnamed} dots have no room for their names." if unnamed else ""
    _say(
        figure, lowest + 0.15,
        "A dot is a model. In brackets: 95 % interval of a panel alone. p: by permutation, adjusted over the panels. "
        f"Dashed: cannot be distinguished from 0.{more}",
        size=9,
    )  # fmt: skip


def _draw_panel(axes: Axes, board: Board, y: Float[np.ndarray, " model"], tested: TestedCorrelation) -> int:
    """Every model with its name, and the least-squares line where a correlation is defined.

    Returns:
        How many names have no room.
    """
    x, colour = 100 * top1_of(board), group_colours(board.models)
    for model, model_x, model_y in zip(board.models, x, y, strict=True):
        marker, size = ("D", 30) if model.supervised_reference else ("o", 22)
        if model.group == OTHER_RUN:
            marker, size = "*", 70
        axes.scatter([model_x], [model_y], s=size, marker=marker, color=colour[model.name], zorder=3)
    if tested.correlation.pearson is not None:
        both = np.isfinite(x) & np.isfinite(y) & correlated(board)
        line, ends = linregress(x[both], y[both]), np.array([x[both].min(), x[both].max()])
        style = {"color": INK} if tested.linear else {"color": GREY, "linestyle": "--", "alpha": 0.6}
        axes.plot(ends, line.intercept + line.slope * ends, linewidth=1.2, **style)
    axes.margins(0.08)
    axes.set_xlabel("ImageNet top-1", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return labels.name_dots(axes, [model.label for model in board.models], np.stack([x, y], axis=1))


def _words(tested: TestedCorrelation) -> str:
    found = tested.correlation
    if found.pearson is None or found.spearman is None:
        return f"n = {found.n}: " + ("too few models" if found.n < FEWEST_MODELS else "constant")
    distinguished = [
        name for name, distinct in (("r", tested.linear), (r"$\rho$", tested.ranked)) if distinct
    ]
    verdict = (
        f"{' and '.join(distinguished)} distinguished from 0" if distinguished else "not distinguished from 0"
    )
    return "\n".join(
        [
            f"r = {_estimate(found.pearson, found.pearson_interval)}, {_chance(tested.pearson_p)}",
            rf"$\rho$ = {_estimate(found.spearman, found.spearman_interval)}, {_chance(tested.spearman_p)}",
            f"n = {found.n}: {verdict}",
        ]
    )


def _estimate(value: float, interval: Interval | None) -> str:
    ends = f"{_two(interval.low)}, {_two(interval.high)}" if interval else "no interval"
    return f"{_two(value)} [{ends}]"


def _chance(p: float | None) -> str:
    return (
        "p unknown"
        if p is None
        else f"p = {p:.2f}"
        if p >= 0.01
        else f"p = {p:.3f}"
        if p >= 0.001
        else "p < 0.001"
    )


def _draw_heat(figure: Figure, found: BoardCorrelations) -> None:
    """The map of the pairs: coefficients below the diagonal, their intervals above it."""
    board, pairs = found.board, found.pairs
    count = len(board.settings)
    rho, opacity = np.full((count, count), np.nan), np.full((count, count), _PALE)
    for (row, column), pair in pairs.items():
        rho[row, column] = rho[column, row] = (
            math.nan if pair.correlation.spearman is None else pair.correlation.spearman
        )
        opacity[row, column] = opacity[column, row] = 1 if pair.ranked else _PALE
    height, side = figure.get_figheight(), _cell(board) * count
    left = max(3.0, (_WIDTH - side) / 2)
    axes = figure.add_axes((left / _WIDTH, 2.1 / height, side / _WIDTH, side / height))
    beside = figure.add_axes(((left + side + 0.3) / _WIDTH, 2.1 / height, 0.2 / _WIDTH, side / height))
    image = axes.imshow(rho, cmap="RdBu", vmin=-1, vmax=1, alpha=opacity)
    for (row, column), pair in pairs.items():
        style: dict[str, Any] = {
            "ha": "center", "va": "center", "fontsize": 7, "weight": "bold" if pair.ranked else "normal",
            "color": "white" if pair.ranked and abs(rho[row, column]) > 0.6 else INK,
        }  # fmt: skip
        axes.text(row, column, _pair_words(pair.correlation), **style)
        axes.text(column, row, _pair_interval(pair.correlation), **style)
    _name_cells(axes, [" ".join(title.split()) for title in titles(board)])
    axes.set_title(
        r"Task against task: Spearman's $\rho$ of the models' scores; above the diagonal its 95 % interval."
        "\nPale: cannot be distinguished from 0 (permutation p, adjusted over the pairs).",
        fontsize=9, color=INK,
    )  # fmt: skip
    figure.colorbar(image, cax=beside, ticks=(-1, -0.5, 0, 0.5, 1)).set_alpha(1)
    beside.tick_params(labelsize=8)


def _name_cells(axes: Axes, names: Sequence[str]) -> None:
    count = len(names)
    axes.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _pair_words(found: Correlation) -> str:
    return f"n={found.n}" if found.spearman is None else f"{_two(found.spearman)}\nn={found.n}"


def _pair_interval(found: Correlation) -> str:
    interval = found.spearman_interval
    if interval is None:
        return "" if found.spearman is None else "no\ninterval"
    return f"{_two(interval.low)}\n{_two(interval.high)}"


def _cell(board: Board) -> float:
    """Inches of one cell of the heat map; it never outgrows the page."""
    return min(0.72, 8.0 / len(board.settings))


def _say(figure: Figure, y: float, what: str, size: int = 12) -> None:
    figure.text(0.5, y / figure.get_figheight(), what, ha="center", va="center", fontsize=size, color=INK)


def _two(value: float) -> str:
    """With a sign, but no -0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value + 0.0:.4f}"
