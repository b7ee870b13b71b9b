"""What figures share: colours that can be told apart, and files whose bytes do not change from run to run."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unibench.metrics import catalogue
from unibench.report.boards import BoardModel
from unibench.results.atomic import replace_file

INK, GREY, FAINT = "#222222", "#7f7f7f", "#d9d9d9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7b3294", "#e6a000")
"""Okabe and Ito's set (told apart also by colour-blind readers), darkened where it would be pale on white."""


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give every name a colour.

    Args:
        names: In order; colours repeat after eight.

    Returns:
        Name -> hexadecimal colour.
    """
    unique = list(dict.fromkeys(names))
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(unique)}


def group_colours(models: Sequence[BoardModel]) -> Mapping[str, str]:
    """Give every group of models a colour; supervised references are grey whatever their group.

    Args:
        models: In the order of the board.

    Returns:
        Model name -> hexadecimal colour.
    """
    of_group = colours([model.group for model in models if not model.supervised_reference])
    return {model.name: GREY if model.supervised_reference else of_group[model.group] for model in models}


def group_handles(
    models: Sequence[BoardModel], style: Mapping[str, Any], reference_style: Mapping[str, Any]
) -> list[Line2D]:
    """Make a legend of groups and of the supervised references.

    Args:
        models: In the order of the board.
        style: How a group's line looks, in matplotlib's words.
        reference_style: How the references' line looks.

    Returns:
        One handle a group and, where there are any, one for all references.
    """
    colour = group_colours(models)
    groups = {
        model.group or "other": colour[model.name] for model in models if not model.supervised_reference
    }
    handles = [Line2D([], [], color=shade, label=group, **style) for group, shade in groups.items()]
    references = [model.label for model in models if model.supervised_reference]
    if references:
        label = f"{references[0]} (reference)" if len(references) == 1 else "supervised references"
        handles.append(Line2D([], [], color=GREY, label=label, **reference_style))
    return handles


def better(metric: str) -> str:
    """Say which direction of a metric is better; empty where neither is."""
    return {1: "higher is better", -1: "lower is better", 0: ""}[catalogue.find(metric).direction]


def say_dots(figure: Figure, seeds: int) -> None:
    """Write below a figure with a bar for a tracker and a dot for each of its trainings what they are."""
    many = f"a bar is the mean of {seeds}" if seeds > 1 else "so is a bar"
    figure.supxlabel(f"A dot is one training, from its own seed; {many}.", fontsize=8.5, color=INK)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in one step; the same figure gives the same bytes.

    Args:
        figure: What to write.
        path: Ends in `.svg` or `.png`.

    Returns:
        The same path.

    Raises:
        OutputError: The file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "unibench", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return replace_file(path, buffer.getvalue())
