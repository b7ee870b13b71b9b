"""The radar: the rank of every model on every task, one polygon a model."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from unibench.errors import OutputError
from unibench.report.boards import (
    SIGN_NOTE,
    Board,
    BoardModel,
    ranks,
    titles,
    trained,
)
from unibench.report.figures import FAINT, GREY, INK, colours, group_colours, group_handles, save

_MOST_NAMED = 9
"""More axes than this are numbered, with a key below: their names would run into each other."""
MOST_IN_ONE = 6
"""More models than this get a panel each: more polygons than this cannot be followed in one circle."""
_COLUMNS, _PANEL = 4, 1.9  # panels in a row, inches across a circle
_KEY_COLUMNS, _LINE = 3, 0.18  # inches
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


def draw(board: Board) -> Figure:
    """Draw ranks on all tasks; a task that a model was not run on is a gap in its polygon, not a zero.

    Up to six models share one circle. More get a panel each, over the supervised references; where there is one
    reference only, that is all of it.

    Args:
        board: The table; every model enters with its better layer, every task with its headline.

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
    return _overlay(board, places) if len(board.models) <= MOST_IN_ONE else _panels(board, places)


def write(board: Board, out: Path) -> list[Path]:
    """Write `radar.svg` and `radar.png`.

    Args:
        board: As for `draw`.
        out: Folder to write to.

    Returns:
        The two paths.

    Raises:
        OutputError: As for `draw`, or a file cannot be written.
    """
    figure = draw(board)
    return [save(figure, Path(out, name)) for name in ("radar.svg", "radar.png")]


def _overlay(board: Board, places: Float[np.ndarray, "model setting"]) -> Figure:
    names = _names(board)
    above, below = 0.17 * _lines(names[:1]) + 0.3, 0.17 * _lines(names) + 0.3  # inches round the circle
    foot = _footer_height(board, places)
    height = above + 4.5 + below + foot
    figure = Figure(figsize=(9.5, height))
    area = (0.1, (foot + below) / height, 0.54, 4.5 / height)
    axes = _circle(figure.add_axes(area, projection="polar"), board, size=10.0)
    colour = colours([model.name for model in board.models if not model.supervised_reference])
    for index, (model, row) in enumerate(zip(board.models, places, strict=True)):
        if model.supervised_reference:
            _polygon(axes, model, row, Pen(GREY, _REFERENCE))
        else:
            pen = Pen(colour[model.name], _DASHES[index % len(_DASHES)], _MARKERS[index])
            _polygon(axes, model, row, pen)
    figure.legend(loc="center left", bbox_to_anchor=(0.74, 0.5), frameon=False, fontsize=10.0)
    _footer(figure, board, places)
    return figure


def _panels(board: Board, places: Float[np.ndarray, "model setting"]) -> Figure:
    known = list(zip(board.models, places, strict=True))
    references = [pair for pair in known if pair[0].supervised_reference]
    shown = [pair for pair in known if len(references) > 1 or not pair[0].supervised_reference]
    rows = math.ceil(len(shown) / _COLUMNS)
    names = _names(board)
    above, below = 0.12 * _lines(names[:1]) + 0.45, 0.12 * _lines(names) + 0.1  # inches round each circle
    foot = _footer_height(board, places) + 0.35
    height = rows * (_PANEL + above + below) + foot
    figure = Figure(figsize=(_COLUMNS * (_PANEL + 1.4), height))
    grid = figure.add_gridspec(
        rows, _COLUMNS, left=0.06, right=0.94, top=1 - above / height, bottom=(below + foot) / height,
        hspace=(above + below) / _PANEL, wspace=0.6,
    )  # fmt: skip
    colour = group_colours(board.models)
    for index, (model, row) in enumerate(shown):
        place = grid[index // _COLUMNS, index % _COLUMNS]
        axes = _circle(figure.add_subplot(place, projection="polar"), board, size=7.0)
        size = min(10.0, 300 / len(model.label))  # a long name must stay on its panel
        axes.set_title(model.label, fontsize=size, fontweight="bold", pad=72 * (above - 0.25), color=INK)
        for reference, its_row in references:
            if reference is not model:
                outline = _outline(its_row, len(known))
                axes.plot(*outline, color=GREY, linestyle=_REFERENCE, linewidth=1.2)
        dash = _REFERENCE if model.supervised_reference else "solid"
        _polygon(axes, model, row, Pen(colour[model.name], dash))
    anchor = (0.5, (foot - 0.35) / height)
    handles = group_handles(board.models, {"linewidth": 2}, {"linewidth": 1.5, "linestyle": _REFERENCE})
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=anchor, ncols=6, frameon=False, fontsize=9
    )
    _footer(figure, board, places)
    return figure


def _lines(names: Sequence[str]) -> int:
    return max(name.count("\n") + 1 for name in names)


def _circle(axes: Axes, board: Board, size: float) -> PolarAxes:
    """Make empty rank rings with one named axis per setting, clockwise from the top."""
    assert isinstance(axes, PolarAxes)
    count = len(board.models)
    rings = sorted({1, *range(5, count + 1, 5)}) if count > MOST_IN_ONE else list(range(1, count + 1))
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(0, count)
    axes.set_yticks([count + 1 - rank for rank in rings], [str(rank) for rank in rings], fontsize=size - 2)
    axes.set_rlabel_position(180 / len(board.settings))
    axes.tick_params(axis="y", labelcolor=GREY)
    angles = _angles(len(board.settings))
    axes.set_xticks(angles, [""] * len(angles))
    for angle, name in zip(angles, _names(board), strict=True):
        side, rise = np.sin(angle), np.cos(angle)
        axes.annotate(
            name, (angle, count), (size * side, size * rise), textcoords="offset points", fontsize=size,
            ha="center" if abs(side) < 0.3 else "left" if side > 0 else "right", color=INK,
            va="center" if abs(rise) < 0.3 else "bottom" if rise > 0 else "top",
        )  # fmt: skip
    axes.set_axisbelow(True)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.spines["polar"].set_color(FAINT)
    return axes


def _polygon(axes: PolarAxes, model: BoardModel, row: Float[np.ndarray, " setting"], pen: Pen) -> None:
    angles, radii = _outline(row, round(axes.get_ylim()[1]))
    axes.plot(
        angles, radii, color=pen.colour, linestyle=pen.dash, marker=pen.marker, linewidth=1.8, markersize=4,
        label=textwrap.fill(model.label, 24), gid=f"model:{model.name}", clip_on=False,
        zorder=3,
    )  # fmt: skip
    if np.isfinite(radii).all() and not model.supervised_reference:
        axes.fill(angles, radii, color=pen.colour, alpha=0.07, linewidth=0)


def _outline(
    row: Float[np.ndarray, " setting"], count: int
) -> tuple[Float[np.ndarray, " vertex"], Float[np.ndarray, " vertex"]]:
    """The closed polygon of one row of ranks: angles and radii, a NaN radius where the line must break."""
    return np.append(_angles(len(row)), 0.0), np.append(count + 1 - row, count + 1 - row[0])


def _angles(count: int) -> Float[np.ndarray, " setting"]:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _names(board: Board) -> list[str]:
    if len(board.settings) > _MOST_NAMED:
        return [str(number) for number in range(1, len(board.settings) + 1)]
    return titles(board)


def _key(board: Board) -> list[str]:
    """The names of numbered axes; nothing where the axes carry their names themselves."""
    if len(board.settings) <= _MOST_NAMED:
        return []
    return [f"{number}  {' '.join(name.split())}" for number, name in enumerate(titles(board), 1)]


def _caption(board: Board, places: Float[np.ndarray, "model setting"]) -> list[str]:
    among = "1 model" if len(board.models) == 1 else f"{len(board.models)} models"
    lines = [
        f"Radius: rank among {among}, 1 (outermost) is best; equal scores share a rank.",
        "Every model with its better layer. A line is broken where a model was not run.",
    ]
    if any(trained(board, model.name) for model in board.models):
        lines.append(SIGN_NOTE)
    if board.published:
        lines.append("All numbers as published: nothing was measured here.")
    ran = np.isfinite(places).sum(axis=0)
    fewer = [
        f"{' '.join(title.split())} ({n})"
        for title, n in zip(titles(board), ran, strict=True)
        if n < len(board.models)
    ]
    return lines + (textwrap.wrap(f"Run on fewer models: {', '.join(fewer)}.", 100) if fewer else [])


def _footer_height(board: Board, places: Float[np.ndarray, "model setting"]) -> float:
    """Inches that the caption and the key of numbered axes take."""
    key = math.ceil(len(_key(board)) / _KEY_COLUMNS)
    return 0.25 + _LINE * (len(_caption(board, places)) + key)


def _footer(figure: Figure, board: Board, places: Float[np.ndarray, "model setting"]) -> None:
    inch = 1 / figure.get_figheight()
    for index, line in enumerate(reversed(_caption(board, places))):
        figure.text(0.5, (0.1 + _LINE * index) * inch, line, ha="center", fontsize=8.5, color=INK)
    for index, name in enumerate(_key(board)):
        row, column = divmod(index, _KEY_COLUMNS)
        x, y = 0.08 + 0.9 * column / _KEY_COLUMNS, _footer_height(board, places) - _LINE * row
        figure.text(x, y * inch, name, va="top", fontsize=8.5, color=INK)
