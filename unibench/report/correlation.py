"""Correlations: does ImageNet accuracy foretell tracking, and does one task foretell another?"""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import linregress

from unibench.records import Score
from unibench.report.boards import Board, ModelFacts, arrange, headlines, is_count, titles
from unibench.report.figures import FAINT, GREY, INK, group_colours, group_handles, save
from unibench.scores import replace_file
from unibench.stats import FEWEST_MODELS, Correlation, correlate

TOP1 = "imagenet_top1"
_NEED = f"a correlation needs at least {FEWEST_MODELS}."
_COLUMNS = 4
_WIDTH, _PANEL = 12.0, 2.9  # inches


def write(scores: Sequence[Score], facts: Sequence[ModelFacts], out: Path) -> list[Path]:
    """Write `correlation.csv` and `correlation.svg`.

    The CSV has one row for ImageNet top-1 against every task and for every pair of tasks; coefficients are
    blank below five models.

    Args:
        scores: What runs have given; every model enters with its better layer, every task with its headline.
        facts: What is known of the models, in the order in which they shall stand.
        out: Folder to write to.

    Returns:
        The two paths.

    Raises:
        OutputError: The scores must not be compared (see `boards.arrange`), or a file cannot be written.
    """
    board = arrange(scores, facts)
    columns = {TOP1: _top1(board), **_columns(board)}
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["x", "y", "pearson", "spearman", "n"])
    for x, y in itertools.combinations(columns, 2):
        found = correlate(columns[x].tolist(), columns[y].tolist())
        lines.writerow([x, y, _decimals(found.pearson), _decimals(found.spearman), found.n])
    return [
        replace_file(Path(out, "correlation.csv"), text.getvalue().encode()),
        save(draw(scores, facts), Path(out, "correlation.svg")),
    ]


def draw(scores: Sequence[Score], facts: Sequence[ModelFacts]) -> Figure:
    """Draw every task against ImageNet top-1, and the rank correlation of every pair of tasks.

    What cannot be drawn for want of models is said in words.

    Args:
        scores: As for `write`.
        facts: As for `write`.

    Returns:
        The figure.

    Raises:
        OutputError: The scores must not be compared (see `boards.arrange`).

    Reference:
        UniTrack (NeurIPS 2021), Figure 6.
    """
    board = arrange(scores, facts)
    known = int(np.isfinite(_top1(board)).sum())
    pairs = _pairs(board)
    any_pair = any(pair.spearman is not None for pair in pairs.values())
    # Inches. Placed by hand: constrained layout differs in the last digits from run to run, and so would the file.
    upper = _PANEL * math.ceil(len(board.settings) / _COLUMNS) + 0.5 if known >= FEWEST_MODELS else 1.0
    lower = _cell(board) * len(board.settings) + 2.4 if any_pair else 1.0
    figure = Figure(figsize=(_WIDTH, upper + lower))
    if known >= FEWEST_MODELS:
        _draw_scatter(figure, board, lower)
    else:
        _say(
            figure, lower + 0.5, f"ImageNet top-1 is known for {known} of {len(board.models)} models; {_NEED}"
        )
    if any_pair:
        _draw_heat(figure, board, pairs)
    elif pairs:
        most = max(pair.n for pair in pairs.values())
        _say(figure, 0.5, f"No two tasks can be correlated: at most {most} models were run on both; {_NEED}")
    else:
        _say(figure, 0.5, "Only one task was run: there is no other to correlate it with.")
    return figure


def _columns(board: Board) -> dict[str, Float[np.ndarray, " model"]]:
    table = headlines(board)
    return {
        f"{setting} {board.metrics[setting][0]}": table[:, index]
        for index, setting in enumerate(board.settings)
    }


def _top1(board: Board) -> Float[np.ndarray, " model"]:
    known = [model.imagenet_top1 for model in board.models]
    return np.array([math.nan if value is None else value for value in known])


def _pairs(board: Board) -> dict[tuple[int, int], Correlation]:
    columns = [column.tolist() for column in headlines(board).T]
    places = itertools.combinations(range(len(columns)), 2)
    return {(row, column): correlate(columns[row], columns[column]) for row, column in places}


def _draw_scatter(figure: Figure, board: Board, lowest: float) -> None:
    """One panel a task, above a height in inches; the legend stands below them."""
    height = figure.get_figheight()
    rows = math.ceil(len(board.settings) / _COLUMNS)
    grid = figure.add_gridspec(
        rows, _COLUMNS, left=0.06, right=0.985, top=1 - 0.5 / height, bottom=(lowest + 1.0) / height,
        wspace=0.32, hspace=0.6,
    )  # fmt: skip
    panels = [figure.add_subplot(grid[divmod(index, _COLUMNS)]) for index in range(len(board.settings))]
    top1, table, colour = _top1(board), headlines(board), group_colours(board.models)
    for axes, title, setting, y in zip(panels, titles(board), board.settings, table.T, strict=True):
        scale = 1 if is_count(board.metrics[setting][0]) else 100
        for model, model_x, model_y in zip(board.models, 100 * top1, scale * y, strict=True):
            marker, size = ("D", 36) if model.supervised_reference else ("o", 26)
            axes.scatter([model_x], [model_y], s=size, marker=marker, color=colour[model.name], zorder=3)
        _fit(axes, 100 * top1, scale * y)
        *name, metric = title.replace("\n(partial)", " (partial)").split("\n")
        axes.set_title(
            f"{' '.join(name)}\n{_words(correlate(top1.tolist(), y.tolist()))}", fontsize=9, color=INK
        )
        axes.set_ylabel(metric, fontsize=9)
        axes.set_xlabel("ImageNet top-1", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    handles = group_handles(board.models, {"marker": "o", "linestyle": ""}, {"marker": "D", "linestyle": ""})
    anchor = (0.5, (lowest + 0.15) / height)
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=anchor, ncols=6, frameon=False, fontsize=9
    )


def _fit(axes: Axes, x: Float[np.ndarray, " model"], y: Float[np.ndarray, " model"]) -> None:
    """Draw the least-squares line where a correlation is defined."""
    if correlate(x.tolist(), y.tolist()).pearson is None:
        return
    both = np.isfinite(x) & np.isfinite(y)
    line = linregress(x[both], y[both])
    ends = np.array([x[both].min(), x[both].max()])
    axes.plot(ends, line.intercept + line.slope * ends, color=GREY, linewidth=1.2)


def _words(found: Correlation) -> str:
    if found.pearson is None or found.spearman is None:
        return f"n = {found.n}: " + ("too few models" if found.n < FEWEST_MODELS else "constant")
    return rf"r = {found.pearson:+.2f}, $\rho$ = {found.spearman:+.2f}, n = {found.n}"


def _draw_heat(figure: Figure, board: Board, pairs: dict[tuple[int, int], Correlation]) -> None:
    count = len(board.settings)
    rho = np.full((count, count), np.nan)
    for (row, column), found in pairs.items():
        rho[row, column] = rho[column, row] = math.nan if found.spearman is None else found.spearman
    height, side = figure.get_figheight(), _cell(board) * count
    left = max(3.0, (_WIDTH - side) / 2)
    axes = figure.add_axes((left / _WIDTH, 1.9 / height, side / _WIDTH, side / height))
    beside = figure.add_axes(((left + side + 0.3) / _WIDTH, 1.9 / height, 0.2 / _WIDTH, side / height))
    axes.set_facecolor(FAINT)
    image = axes.imshow(rho, cmap="RdBu", vmin=-1, vmax=1)
    for (row, column), found in pairs.items():
        text = "" if found.spearman is None else f"{found.spearman:+.2f}\n"
        shade = "white" if found.spearman is not None and abs(found.spearman) > 0.6 else INK
        for x, y in ((row, column), (column, row)):
            axes.text(x, y, f"{text}n={found.n}", ha="center", va="center", fontsize=7, color=shade)
    names = [" ".join(title.split()) for title in titles(board)]
    axes.set_xticks(range(count), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(count), names, fontsize=8)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(r"Task against task: Spearman's $\rho$ of the models' scores", fontsize=10, color=INK)
    figure.colorbar(image, cax=beside, ticks=(-1, -0.5, 0, 0.5, 1))
    beside.tick_params(labelsize=8)


def _cell(board: Board) -> float:
    """Inches of one cell of the heat map; it never outgrows the page."""
    return min(0.62, 8.0 / len(board.settings))


def _say(figure: Figure, y: float, what: str) -> None:
    figure.text(0.5, y / figure.get_figheight(), what, ha="center", va="center", fontsize=12, color=INK)


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value + 0.0:.4f}"
