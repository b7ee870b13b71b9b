"""The leaderboard: `leaderboard.csv` (wide, for people), `long.csv` (tidy, for programs), a table."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from unibench.records import Score
from unibench.report.boards import (
    Board,
    ModelFacts,
    Setting,
    arrange,
    best_layer,
    best_value,
    direction,
    show,
    titles,
)
from unibench.scores import replace_file

if TYPE_CHECKING:
    import rich.table

BEST = "best"
"""Stands in the layer column of the row that takes, task by task, a model's better layer."""


def write(scores: Sequence[Score], facts: Sequence[ModelFacts], out: Path) -> list[Path]:
    """Write both files.

    In `leaderboard.csv` fractions are times 100 with two decimals, counts are integers, and a column of which
    only a part was run says so in its head; `long.csv` has every field of every score, in full precision.

    Args:
        scores: What runs have given.
        facts: What is known of the models, in the order in which they shall stand.
        out: Folder to write to.

    Returns:
        The two paths.

    Raises:
        OutputError: The scores must not be compared (see `boards.arrange`), or a file cannot be written.

    Reference:
        UniTrack (NeurIPS 2021), Tables 1 and 2.
    """
    board = arrange(scores, facts)
    columns = _columns(board, board.settings)
    head = [
        "model",
        "layer",
        "imagenet_top1",
        *(_head(board, setting, metric) for setting, metric in columns),
    ]
    wide = [
        [model.name, layer, show("top-1", model.imagenet_top1), *_cells(board, model.name, layer, columns)]
        for model, layer in _rows(board)
    ]
    tidy = sorted([_plain(value) for value in astuple(score)] for score in scores)
    return [
        replace_file(Path(out, "leaderboard.csv"), _csv([head, *wide])),
        replace_file(Path(out, "long.csv"), _csv([[field.name for field in fields(Score)], *tidy])),
    ]


def table(scores: Sequence[Score], facts: Sequence[ModelFacts]) -> "rich.table.Table":
    """Lay out the headline scores for the terminal, the best of each column in bold.

    Args:
        scores: What runs have given.
        facts: What is known of the models, in the order in which they shall stand.

    Returns:
        A table that `rich` prints: fractions times 100, counts as integers.

    Raises:
        OutputError: The scores must not be compared (see `boards.arrange`).
    """
    from rich.table import Table  # only a terminal needs it
    from rich.text import Text

    board = arrange(scores, facts)
    columns = [(setting, board.metrics[setting][0]) for setting in board.settings]
    best = [show(metric, _best(board, setting, metric)) for setting, metric in columns]
    laid = Table(caption="Headline scores; fractions x 100.")
    laid.add_column("model", overflow="fold")  # a name cut short is another name
    laid.add_column("layer")
    laid.add_column("ImageNet\ntop-1", justify="right")
    for title, (_, metric) in zip(titles(board), columns, strict=True):
        laid.add_column(Text(f"{title} {_arrow(metric)}"), justify="right")
    for model, layer in _rows(board):
        cells = _cells(board, model.name, layer, columns)
        styled = [
            Text(cell, style="bold" if cell and cell == top else "")
            for cell, top in zip(cells, best, strict=True)
        ]
        laid.add_row(Text(model.label), Text(layer), show("top-1", model.imagenet_top1), *styled)
    return laid


def _columns(board: Board, settings: Iterable[Setting]) -> list[tuple[Setting, str]]:
    return [(setting, metric) for setting in settings for metric in board.metrics[setting]]


def _rows(board: Board) -> list[tuple[ModelFacts, str]]:
    """Every model and layer, and BEST where a model has several."""
    return [
        (model, layer)
        for model in board.models
        for layer in [*board.layers[model.name], *([BEST] if len(board.layers[model.name]) > 1 else [])]
    ]


def _cells(board: Board, model: str, layer: str, columns: Sequence[tuple[Setting, str]]) -> list[str]:
    cells = []
    for setting, metric in columns:
        source = best_layer(board, model, setting) if layer == BEST else layer
        value = None if source is None else board.values.get((model, source, setting, metric))
        cells.append(show(metric, value))
    return cells


def _best(board: Board, setting: Setting, metric: str) -> float | None:
    return best_value(metric, [value for key, value in board.values.items() if key[2:] == (setting, metric)])


def _head(board: Board, setting: Setting, metric: str) -> str:
    return f"{setting} {metric}" + (" (partial)" if setting in board.partial else "")


def _arrow(metric: str) -> str:
    return {1: "↑", -1: "↓", 0: ""}[direction(metric)]


def _plain(value: object) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else str(value)


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
