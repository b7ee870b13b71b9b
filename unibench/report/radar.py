"""The radar: the rank of every model on every task, one polygon a model.

Ranks hide how close scores are. So a dot is full only where the paired test of the leaderboard tells its model from the
best of the axis (or it is the best), each axis says from where to where its scores reach, and one that cannot rank is
grey.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.report.boards import (
    SIGN_NOTE,
    Board,
    best_layer,
    headlines,
    published_note,
    ranks,
    titles,
    trained,
)
from unibench.report.figures import FAINT, GREY, INK, colours, group_colours, group_handles, save
from unibench.report.leaderboard import NO_TIES, Standing, Ties

_MOST_NAMED = 9
"""More axes than this are numbered, with a key below: their names would run into each other."""
MOST_IN_ONE = 6
"""More models than this get a panel each: more polygons than this cannot be followed in one circle."""
_COLUMNS, _PANEL = 4, 1.9  # panels in a row, inches across a circle
_KEY_COLUMNS, _LINE = 3, 0.18  # inches
_WIDTH, _CIRCLE = 10.4, 5.0  # inches: the page and the circle of a single one
_APART = 0.035  # between dots of one rank, of the circle's radius
_VOID, _SPOKE = (0, (1.0, 3.0)), "#b5b5b5"
_REFERENCE = (0, (4.0, 2.0))
_DASHES = ("solid", (0, (6.0, 1.5)), (0, (1.0, 1.0)), (0, (4.0, 1.0, 1.0, 1.0)))
_MARKERS = "osD^vP"

Dash = str | tuple[int, tuple[float, ...]]
"""A line style as matplotlib takes it."""


@dataclass(frozen=True)
class Pen:
    """How one polygon is drawn."""

    colour: str
    dash: Dash
    marker: str = "o"


@dataclass(frozen=True, eq=False)
class Ranked:
    """What is drawn."""

    board: Board
    places: Float[np.ndarray, "model setting"]
    """Ranks; NaN where a model was not run."""
    told: Bool[np.ndarray, "model setting"]
    """Where the rank is more than chance."""
    weaknesses: list[str]
    """Why a setting's ranks mean nothing; empty where they do."""

    @property
    def shown(self) -> Float[np.ndarray, "model setting"]:
        """The ranks that get a dot: not those of one model alone."""
        return np.where(np.isfinite(self.places).sum(axis=0) > 1, self.places, np.nan)


def draw(board: Board, ties: Ties = NO_TIES) -> Figure:
    """Draw ranks on all tasks; a task that a model was not run on is a gap in its polygon, not a zero.

    Up to six models share one circle. More get a panel each, over the supervised references; where there is one
    reference only, that is all of it.

    Args:
        board: The table; every model enters with its better layer, every task with its headline.
        ties: How rows stand to the best of their columns; none where nothing was tested, as of published numbers.

    Returns:
        The figure. Rank 1 is the outermost ring; equal scores share the better rank.

    Raises:
        OutputError: No headline score is defined.

    Reference:
        UniTrack (NeurIPS 2021), Figure 1.
    """
    places = ranks(board)
    if np.isnan(places).all():
        raise OutputError("radar: no headline score is defined, expected at least one; run a task first")
    ranked = Ranked(board, places, told_apart(board, ties), weaknesses(board, ties))
    return _overlay(ranked) if len(board.models) <= MOST_IN_ONE else _panels(ranked)


def write(board: Board, out: Path, ties: Ties = NO_TIES) -> list[Path]:
    """Write `radar.svg` and `radar.png`.

    Args:
        board: As for `draw`.
        out: Folder to write to.
        ties: As for `draw`.

    Returns:
        The two paths.

    Raises:
        OutputError: As for `draw`, or a file cannot be written.
    """
    figure = draw(board, ties)
    return [save(figure, Path(out, name)) for name in ("radar.svg", "radar.png")]


def told_apart(board: Board, ties: Ties) -> Bool[np.ndarray, "model setting"]:
    """Where a rank is more than chance: the test tells the model from the best, or it alone is the best.

    Args:
        board: The table.
        ties: How rows stand to the best of their columns; none: everything counts as told apart.
    """
    if not ties:
        return np.ones((len(board.models), len(board.settings)), dtype=bool)
    places, weak = ranks(board), weaknesses(board, ties)
    told = np.zeros(places.shape, dtype=bool)
    for column, setting in enumerate(board.settings):
        alone = (places[:, column] == 1).sum() == 1 and not weak[column]
        for row, model in enumerate(board.models):
            standing = ties.get((model.name, best_layer(board, model.name, setting) or "", setting))
            told[row, column] = standing == Standing.BEHIND or (standing == Standing.BEST and alone)
    return told


def weaknesses(board: Board, ties: Ties) -> list[str]:
    """Say of every setting why its ranks mean nothing; empty where they do.

    Args:
        board: The table.
        ties: How rows stand to the best of their columns.

    Returns:
        One a setting: `1 model`, `too few clips`, or `not tested` where the clips are not stored or not defined.
    """
    found = []
    for setting, models in zip(
        board.settings, np.isfinite(headlines(board)).sum(axis=0).tolist(), strict=True
    ):
        others = {standing for key, standing in ties.items() if key[2] == setting} - {Standing.BEST}
        if models < 2:
            found.append(f"{models} model{'s' * (not models)}")
        elif not others or others & {Standing.BEHIND, Standing.TIED}:
            found.append("")
        else:
            found.append("too few clips" if Standing.TOO_FEW in others else "not tested")
    return found


def _overlay(ranked: Ranked) -> Figure:
    board = ranked.board
    names = _names(ranked, scores=True)
    above, below = 0.17 * _lines(names[:1]) + 0.3, 0.17 * _lines(names) + 0.2  # inches round the circle
    foot = _footer_height(ranked)
    height = above + _CIRCLE + below + foot
    figure = Figure(figsize=(_WIDTH, height))
    area = (1.6 / _WIDTH, (foot + below) / height, _CIRCLE / _WIDTH, _CIRCLE / height)
    axes = _circle(figure.add_axes(area, projection="polar"), ranked, names, size=10.0)
    colour = colours([model.name for model in board.models if not model.supervised_reference])
    shifts = _shifts(ranked.shown)
    for index, model in enumerate(board.models):
        pen = Pen(GREY, _REFERENCE, _MARKERS[index])
        if not model.supervised_reference:
            pen = Pen(colour[model.name], _DASHES[index % len(_DASHES)], _MARKERS[index])
        _polygon(axes, ranked, index, pen, shifts[index])
    figure.legend(
        loc="center left", bbox_to_anchor=((1.6 + _CIRCLE + 1.4) / _WIDTH, 1 - (above + _CIRCLE / 2) / height),
        frameon=False, fontsize=10.0, handlelength=3.0,
    )  # fmt: skip
    _footer(figure, ranked)
    return figure


def _panels(ranked: Ranked) -> Figure:
    board = ranked.board
    everyone = range(len(board.models))
    references = [index for index in everyone if board.models[index].supervised_reference]
    shown = [index for index in everyone if len(references) > 1 or index not in references]
    rows = math.ceil(len(shown) / _COLUMNS)
    names = _names(ranked, scores=False)
    above, below = 0.12 * _lines(names[:1]) + 0.45, 0.12 * _lines(names) + 0.1  # inches round each circle
    foot = _footer_height(ranked) + 0.35
    height = rows * (_PANEL + above + below) + foot
    figure = Figure(figsize=(_COLUMNS * (_PANEL + 1.4), height))
    grid = figure.add_gridspec(
        rows, _COLUMNS, left=0.06, right=0.94, top=1 - above / height, bottom=(below + foot) / height,
        hspace=(above + below) / _PANEL, wspace=0.6,
    )  # fmt: skip
    colour = group_colours(board.models)
    straight = np.zeros(len(board.settings))
    for place, index in enumerate(shown):
        model = board.models[index]
        area = grid[place // _COLUMNS, place % _COLUMNS]
        axes = _circle(figure.add_subplot(area, projection="polar"), ranked, names, size=7.0)
        size = min(10.0, 300 / len(model.label))  # a long name must stay on its panel
        axes.set_title(model.label, fontsize=size, fontweight="bold", pad=72 * (above - 0.25), color=INK)
        for reference in references:
            if reference != index:
                outline = _outline(ranked.shown[reference], len(board.models), straight)
                axes.plot(*outline, color=GREY, linestyle=_REFERENCE, linewidth=1.2)
        dash = _REFERENCE if model.supervised_reference else "solid"
        _polygon(axes, ranked, index, Pen(colour[model.name], dash), straight)
    anchor = (0.5, (foot - 0.35) / height)
    handles = group_handles(board.models, {"linewidth": 2}, {"linewidth": 1.5, "linestyle": _REFERENCE})
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=anchor, ncols=6, frameon=False, fontsize=9
    )
    _footer(figure, ranked)
    return figure


def _lines(names: Sequence[str]) -> int:
    return max(name.count("\n") + 1 for name in names)


def _circle(axes: Axes, ranked: Ranked, names: Sequence[str], size: float) -> PolarAxes:
    """Make empty rank rings with one named axis per setting, clockwise from the top; grey where ranks mean nothing."""
    assert isinstance(axes, PolarAxes)
    count = len(ranked.board.models)
    rings = sorted({1, *range(5, count + 1, 5)}) if count > MOST_IN_ONE else list(range(1, count + 1))
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(0, count)
    axes.set_yticks([count + 1 - rank for rank in rings], [str(rank) for rank in rings], fontsize=size - 2)
    axes.set_rlabel_position(180 / len(names))
    axes.tick_params(axis="y", labelcolor=GREY)
    angles = _angles(len(names))
    axes.set_xticks(angles, [""] * len(angles))
    for angle, name, weakness in zip(angles, names, ranked.weaknesses, strict=True):
        side, rise = np.sin(angle), np.cos(angle)
        axes.annotate(
            name, (angle, count), (size * side, size * rise), textcoords="offset points", fontsize=size,
            ha="center" if abs(side) < 0.3 else "left" if side > 0 else "right", color=GREY if weakness else INK,
            va="center" if abs(rise) < 0.3 else "bottom" if rise > 0 else "top",
        )  # fmt: skip
    axes.set_axisbelow(True)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.spines["polar"].set_color(FAINT)
    for angle, line, weakness in zip(angles, axes.get_xgridlines(), ranked.weaknesses, strict=True):
        line.set(
            linestyle=_VOID if weakness else "solid",
            color=FAINT if weakness else _SPOKE,
            gid=f"axis:{angle:.2f}",
        )
    return axes


def _polygon(
    axes: PolarAxes, ranked: Ranked, index: int, pen: Pen, shifts: Float[np.ndarray, " setting"]
) -> None:
    """Draw one model: full dots where its rank is told apart, hollow ones elsewhere."""
    model = ranked.board.models[index]
    angles, radii = _outline(ranked.shown[index], round(axes.get_ylim()[1]), shifts)
    told = np.flatnonzero(ranked.told[index]).tolist()
    axes.plot(
        angles, radii, color=pen.colour, linestyle=pen.dash, marker=pen.marker, linewidth=1.8, markersize=5,
        markevery=told, label=textwrap.fill(model.label, 24), gid=f"model:{model.name}", clip_on=False, zorder=3,
    )  # fmt: skip
    hollow = np.flatnonzero(~ranked.told[index]).tolist()
    axes.plot(
        angles, radii, color=pen.colour, linestyle="none", marker=pen.marker, markersize=5.5, markevery=hollow,
        markerfacecolor="white", label="_hollow", gid=f"hollow:{model.name}", clip_on=False, zorder=4,
    )  # fmt: skip
    if np.isfinite(radii).all() and not model.supervised_reference:
        axes.fill(angles, radii, color=pen.colour, alpha=0.07, linewidth=0)


def _outline(
    row: Float[np.ndarray, " setting"], count: int, shifts: Float[np.ndarray, " setting"]
) -> tuple[Float[np.ndarray, " vertex"], Float[np.ndarray, " vertex"]]:
    """The closed polygon of one row of ranks: angles and radii, a NaN radius where the line must break."""
    angles, radii = _angles(len(row)) + shifts, count + 1 - row
    return np.append(angles, angles[0] + 2 * np.pi), np.append(radii, radii[0])


def _shifts(places: Float[np.ndarray, "model setting"]) -> Float[np.ndarray, "model setting"]:
    """Radians that move dots of one rank apart on their ring, so that none hides another."""
    shifts = np.zeros_like(places)
    for column, shift in zip(places.T, shifts.T, strict=True):
        for rank in np.unique(column[np.isfinite(column)]):
            (same,) = np.nonzero(column == rank)
            radius = (len(column) + 1 - rank) / len(column)  # of the circle's
            shift[same] = (np.arange(len(same)) - (len(same) - 1) / 2) * _APART / radius
    return shifts


def _angles(count: int) -> Float[np.ndarray, " setting"]:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _names(ranked: Ranked, *, scores: bool) -> list[str]:
    """What stands at the axes: task and metric, the range of the scores, why an axis is grey; or a number."""
    board = ranked.board
    if len(board.settings) > _MOST_NAMED:
        return [str(number) for number in range(1, len(board.settings) + 1)]
    spans = _spans(board) if scores else [""] * len(board.settings)
    weak = [f"({one})" if one else "" for one in ranked.weaknesses]
    return ["\n".join(filter(None, parts)) for parts in zip(titles(board), spans, weak, strict=True)]


def _spans(board: Board) -> list[str]:
    """From the worst score to the best one of each setting; empty where there are no two."""
    found = []
    for setting, column in zip(board.settings, headlines(board).T, strict=True):
        metric = board.metrics[setting][0]
        values = np.unique(column[np.isfinite(column)])[:: catalogue.find(metric).direction or 1]
        ends = (
            [catalogue.show(metric, float(value)) for value in (values[0], values[-1])]
            if len(values) > 1
            else []
        )
        found.append(" to ".join(ends))
    return found


def _key(ranked: Ranked) -> list[str]:
    """The names of numbered axes; nothing where the axes carry their names themselves."""
    board = ranked.board
    if len(board.settings) <= _MOST_NAMED:
        return []
    weak = [f" ({one})" if one else "" for one in ranked.weaknesses]
    return [
        f"{number}  {' '.join(name.split())}{why}"
        for number, (name, why) in enumerate(zip(titles(board), weak, strict=True), 1)
    ]


def _caption(ranked: Ranked) -> list[str]:
    board, count = ranked.board, len(ranked.board.models)
    among = "1 model" if count == 1 else f"{count} models"
    better = "Every model with its better layer"
    if any(len(layers) > 1 for layers in board.layers.values()):
        better += ", chosen on the test clips"
    lines = [
        f"Radius: rank among {among}, 1 (outermost) is best, however close the scores; equal scores share a rank.",
        f"{better}. A line is broken where a model was not run.",
    ]
    if not ranked.told.all():
        lines.append(
            "Hollow: a paired permutation test over clips cannot tell it from the best of the axis (p .05 or more), or "
            "clips are too few."
        )
    if any(ranked.weaknesses):
        lines.append("Grey axes: no rank can be told from another. An axis of one model has no dot.")
    if any(trained(board, model.name) for model in board.models):
        lines.append(SIGN_NOTE)
    if board.published:
        lines.append(f"{published_note(board)}, and no difference was tested.")
    ran = np.isfinite(headlines(board)).sum(axis=0)
    fewer = [
        f"{' '.join(title.split())} ({n})" for title, n in zip(titles(board), ran, strict=True) if n < count
    ]
    if fewer:
        lines.append(f"Run on fewer models: {', '.join(fewer)}.")
    return [part for line in lines for part in textwrap.wrap(line, 145)]


def _footer_height(ranked: Ranked) -> float:
    """Inches that the caption and the key of numbered axes take."""
    key = math.ceil(len(_key(ranked)) / _KEY_COLUMNS)
    return 0.25 + _LINE * (len(_caption(ranked)) + key)


def _footer(figure: Figure, ranked: Ranked) -> None:
    inch = 1 / figure.get_figheight()
    for index, line in enumerate(reversed(_caption(ranked))):
        figure.text(0.04, (0.1 + _LINE * index) * inch, line, fontsize=8.5, color=INK)
    for index, name in enumerate(_key(ranked)):
        row, column = divmod(index, _KEY_COLUMNS)
        x, y = 0.04 + 0.92 * column / _KEY_COLUMNS, _footer_height(ranked) - _LINE * row
        shade = GREY if ranked.weaknesses[index] else INK
        figure.text(x, y * inch, name, va="top", fontsize=8.5, color=shade)
