"""Names beside the dots of a plot: none lies over another, over a dot or beyond the edge."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from unibench.report.figures import GREY, INK

DISTANCES = (0, 5, 11, 18, 26, 36, 48, 62)
"""Between a dot's edge and a name, points; the nearest that is free is taken."""
_NAME = 6.0
"""Size of the names at the dots, points."""
_BEHIND_NAMES = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.4}
_LEADER = {
    "arrowstyle": "-",
    "color": GREY,
    "linewidth": 0.5,
    "shrinkA": 0,
    "shrinkB": 2,
    "relpos": (0.5, 0.5),
}
_DIRECTIONS = 16
_DOT = 3.5
"""Radius that a dot takes, points."""


def text_size(text: str, size: float) -> tuple[float, float]:
    """Width and height of one line, points."""
    path = TextPath((0, 0), text, prop=FontProperties(size=size))
    return float(path.get_extents().width) + 0.5 * size, 1.2 * size


def place(
    dots: Float[np.ndarray, "dot 2"], sizes: Sequence[tuple[float, float]], area: tuple[float, float]
) -> list[tuple[float, float] | None]:
    """Find a place for the name of every dot, as near as there is one.

    Args:
        dots: x and y, points from the lower left corner of the plot.
        sizes: Width and height of each name, points.
        area: Width and height of the plot, points.

    Returns:
        The centre of each name, points from the lower left corner; None where there is no room.
    """
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in dots.tolist()]
    places: list[tuple[float, float] | None] = [None] * len(sizes)
    for index in np.argsort(dots[:, 0], kind="stable").tolist():
        boxes = _candidates(dots[index], sizes[index])
        inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= area).all(axis=1)
        free = inside & ~_overlaps(boxes, np.array(taken))
        if free.any():
            box = boxes[int(np.argmax(free))]
            taken.append(tuple(box.tolist()))
            places[index] = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    return places


def name_dots(axes: Axes, names: Sequence[str], at: Float[np.ndarray, "model 2"]) -> int:
    """Write a name beside each dot, with a line to it where they are apart.

    Args:
        axes: Whose limits and place on the page are final.
        names: One a dot.
        at: x and y of each dot, in the plot's own units; NaN where it is not drawn.

    Returns:
        How many find no room.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    area = figure.get_size_inches() * 72 * axes.get_position().size
    there = np.flatnonzero(np.isfinite(at).all(axis=1)).tolist()
    axes.get_xlim(), axes.get_ylim()  # asking for them makes the limits final, on which the transform depends
    dots = (axes.transData + axes.transAxes.inverted()).transform(at[there]) * area
    found = place(dots, [text_size(names[index], _NAME) for index in there], tuple(area.tolist()))
    for index, dot, centre in zip(there, dots, found, strict=True):
        if centre is not None:
            axes.annotate(
                names[index], at[index], tuple(np.subtract(centre, dot)), textcoords="offset points", ha="center",
                va="center", fontsize=_NAME, color=INK, zorder=4, bbox=_BEHIND_NAMES, arrowprops=_LEADER,
            )  # fmt: skip
    return sum(centre is None for centre in found)


def _candidates(dot: Float[np.ndarray, " 2"], size: tuple[float, float]) -> Float[np.ndarray, "place 4"]:
    """Boxes (left, bottom, right, top) round a dot, the nearest first, to the right before all others."""
    half = np.array(size) / 2
    turns = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    turns = turns[np.argsort(np.minimum(turns, 2 * np.pi - turns), kind="stable")]
    towards = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    away = _DOT + 1 + np.array(DISTANCES)
    centres = dot + towards[None] * (half + away[:, None, None])
    boxes = np.concatenate([centres - half, centres + half], axis=-1)
    return boxes.reshape(-1, 4)


def _overlaps(
    boxes: Float[np.ndarray, "place 4"], taken: Float[np.ndarray, "box 4"]
) -> Bool[np.ndarray, " place"]:
    apart = (boxes[:, None, :2] >= taken[None, :, 2:]) | (boxes[:, None, 2:] <= taken[None, :, :2])
    clear: Bool[np.ndarray, "place box"] = apart[..., 0] | apart[..., 1]
    return ~np.asarray(clear.all(axis=1))
