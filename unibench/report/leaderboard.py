"""The leaderboard: `leaderboard.csv` (wide, for people), `long.csv` (tidy, for programs), a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from unibench.metrics import catalogue
from unibench.metrics.catalogue import show
from unibench.records import Score
from unibench.report import costs as of_frames
from unibench.report import terminal
from unibench.report.boards import (
    SIGN_NOTE,
    Board,
    BoardModel,
    Setting,
    best_layer,
    ranks,
    titles,
    trained,
    was_trained_on,
)
from unibench.report.costs import NO_COSTS, Costs
from unibench.report.terminal import Column
from unibench.results.atomic import csv_bytes, replace_file
from unibench.stats.bootstrap import FEWEST_CLIPS

if TYPE_CHECKING:
    import rich.table

BEST = "best"
"""Layer of the row that takes, task by task, a model's better layer."""
BEST_NOTE = (
    f"Layer {BEST}: task by task the layer that is best on these very clips (best on test), which is optimistic; "
    "chosen on other clips: unibench select."
)
OTHERS = "without a card"
"""Group of models of which no group is known."""

_FEW_NAMES = 5
"""So many missing clips of a row are named below the table; `leaderboard.csv` names all."""


class Standing(StrEnum):
    """How a row stands to the best of its column, by a paired test over the clips (`unibench.report.compare.ties`)."""

    BEST = "best"
    TIED = "tied"
    """It cannot be told apart from the best."""
    BEHIND = "behind"
    TOO_FEW = "too few clips"
    UNDEFINED = "not defined"
    """Its score, or that of the best, is not after every swap of clips."""
    UNCOMPARED = "not compared"
    """The clips are not stored with the score."""


Ties = Mapping[tuple[str, str, Setting], Standing]
"""Model, layer, column -> standing; rows without clips of their own, as those of papers, are not there."""
NO_TIES: Ties = MappingProxyType({})
ABOUT = "Headline scores; fractions x 100. In each group the best model is first, by the mean of its ranks."
MARK = "="
"""Follows a number that cannot be told apart from the best of its column."""


@dataclass(frozen=True)
class Cell:
    """One headline score as boards print it."""

    text: str
    """Empty where the model was not run."""
    place: int
    """1: the best of the column, 2: the second, 0: any other. Equal numbers as printed share a place."""
    standing: Standing | None
    interval: str
    """`low to high`, in the unit of the text, or why there is none; empty where nothing is known of the clips."""


def write(board: Board, out: Path, ties: Ties = NO_TIES, costs: Costs = NO_COSTS) -> list[Path]:
    """Write both files.

    In `leaderboard.csv` fractions are times 100 with two decimals, counts are integers, and a column of which
    only a part was run says so in its head. Behind a headline column stand its 95 % interval over clips and how each
    row stands to the best, where that is known; where rows were scored on other clips, how many all of them share,
    which the scores are of, and which clips a row lacks. Where there are joint trackers, a column `kind` tells them
    from frozen models; where anything casts doubt on a row, a column `note` says what. The last columns say what a
    frame costs, where that was measured. `long.csv` has every field of
    every score, in full precision.

    Args:
        board: Scores in order.
        out: Folder to write to.
        ties: How rows stand to the best of their columns, where that was tested.
        costs: What a frame costs, where that was measured.

    Returns:
        The two paths.

    Raises:
        OutputError: A file cannot be written.

    Reference:
        UniTrack (NeurIPS 2021), Tables 1 and 2.
    """
    lines = rows(board)
    columns = [
        ["model", *(model.name for model, _ in lines)],
        ["layer", *(layer for _, layer in lines)],
        ["imagenet_top1", *(show("top-1", model.imagenet_top1) for model, _ in lines)],
    ]
    doubts = [_note(board, model, layer) for model, layer in lines]
    if any(doubts):
        columns.append(["note", *doubts])
    kinds = ["joint" if trained(board, model.name) else "frozen" for model, _ in lines]
    if "joint" in kinds:
        columns.insert(1, ["kind", *kinds])
    for setting, cells in zip(board.settings, zip(*headline_cells(board, ties), strict=True), strict=True):
        headline, *others = board.metrics[setting]
        head = _head(board, setting, headline)
        tested = [
            [f"{head} 95% CI", *(cell.interval for cell in cells)],
            [f"{head} vs best", *(cell.standing or "" for cell in cells)],
        ]
        columns += [[head, *(cell.text for cell in cells)], *(column for column in tested if any(column[1:]))]
        columns += _clip_columns(board, setting)
        for metric in others:
            values = [_value(board, model.name, layer, setting, metric) for model, layer in lines]
            columns.append([_head(board, setting, metric), *(show(metric, value) for value in values)])
    columns += of_frames.columns(row_keys(board), costs)
    named = (replace(score, model=key[0]) for key, score in board.scores.items())
    tidy = sorted([_plain(value) for value in astuple(score)] for score in named)
    return [
        replace_file(Path(out, "leaderboard.csv"), csv_bytes(zip(*columns, strict=True))),
        replace_file(Path(out, "long.csv"), csv_bytes([[field.name for field in fields(Score)], *tidy])),
    ]


def tables(board: Board, ties: Ties = NO_TIES, width: int = terminal.WIDTH) -> list["rich.table.Table"]:
    """Lay out the headline scores for the terminal: the best of each column bold, what ties with it marked.

    Models stand in groups (untrained, self-supervised, ...), the best first: by the mean of their ranks on the columns
    that they have.

    Args:
        board: Scores in order.
        ties: How rows stand to the best of their columns, where that was tested.
        width: Characters of a line.

    Returns:
        Tables that `rich` prints: fractions times 100, counts as integers. One where all columns fit into the width,
        else several with the same rows.
    """
    from rich.text import Text  # only a terminal needs it

    tied = {setting for (_, _, setting), standing in ties.items() if standing == Standing.TIED}
    cells = dict(zip(rows(board), headline_cells(board, ties), strict=True))
    groups = _groups(board)
    lines = [row for group in groups.values() for row in group]
    columns = []
    if any(model.imagenet_top1 is not None for model in board.models):
        top1 = [show("top-1", model.imagenet_top1) for model, _ in lines]
        columns.append(Column("ImageNet\ntop-1", top1))
    for place, (title, setting) in enumerate(zip(titles(board), board.settings, strict=True)):
        found = []
        for cell in (cells[row][place] for row in lines):
            # numbers stay below each other: the mark has a place of its own, also in the rows that lack it
            mark = (MARK if cell.standing == Standing.TIED else " ") if setting in tied and cell.text else ""
            style = "bold" if cell.place == 1 else ""
            found.append(Text(cell.text, style=style).append(mark, style="not bold"))
        columns.append(Column(f"{title} {arrow(board.metrics[setting][0])}".rstrip(), found))
    names = [
        Column("model", [model.label for model, _ in lines], "left"),
        Column("layer", [layer for _, layer in lines], "left"),
    ]
    heads = {lines.index(found[0]): name for name, found in groups.items() if len(groups) > 1}
    return terminal.fit(names, columns, width, groups=heads)


def _groups(board: Board) -> dict[str, list[tuple[BoardModel, str]]]:
    """Name of a group -> its rows, the best model first."""
    places = dict(zip(board.models, map(_mean, ranks(board).tolist()), strict=True))
    groups: dict[str, list[tuple[BoardModel, str]]] = {}
    for model in board.models:
        groups.setdefault(model.group or OTHERS, []).extend(row for row in rows(board) if row[0] == model)
    return {name: sorted(found, key=lambda row: places[row[0]]) for name, found in groups.items()}


def _mean(places: Sequence[float]) -> float:
    """The mean of the ranks that there are; models without any come last."""
    there = [place for place in places if not math.isnan(place)]
    return sum(there) / len(there) if there else math.inf


def notes(board: Board, ties: Ties) -> list[str]:
    """Say what the signs of a board mean, and which columns could not be tested.

    Args:
        board: The table.
        ties: How its rows stand.

    Returns:
        Lines of plain text; none where there are no signs and nothing was tested.
    """
    found = [SIGN_NOTE] if any(trained(board, model.name) for model in board.models) else []
    if any(layer == BEST for _, layer in rows(board)):
        found.append(BEST_NOTE)
    if Standing.TIED in ties.values():
        found.append(
            f"{MARK} cannot be told apart from the best of its column: in a paired permutation test over clips, "
            "Holm-adjusted over the column, p is .05 or more."
        )
    for standing, words in (
        (Standing.TOO_FEW, "Too few clips to tell rows from the best"),
        (
            Standing.UNDEFINED,
            "Some rows could not be tested, as the metric is not defined on a part of the clips",
        ),
        (Standing.UNCOMPARED, "Some rows were not compared, as their clips are not stored"),
    ):
        names = [
            " ".join(title.split())
            for title, setting in zip(titles(board), board.settings, strict=True)
            if any(key[2] == setting and of == standing for key, of in ties.items())
        ]
        if names:
            found.append(f"{words}: {', '.join(names)}.")
    found += _cautions(board)
    return (
        found
        + [
            f"{setting} is scored on the {len(shared.names)} of {shared.every} clips that all rows have; "
            f"{'; '.join(_lacking(row, names) for row, names in shared.missing.items())}."
            for setting, shared in board.shared.items()
        ]
        + [
            f"{model}/{layer} on {setting}: {score.note}."
            for (model, layer, setting, _), score in board.scores.items()
            if score.headline and score.note
        ]
    )


def _cautions(board: Board) -> list[str]:
    """Say which models were trained on clips that they are scored on."""
    found = []
    for model in board.models:
        columns = ", ".join(str(one) for one in board.settings if _trained_on(board, model, one))
        if columns:
            found.append(
                f"{model.name} was trained on clips of {columns}, as its card says; --clean leaves it out."
            )
    return found


def _trained_on(board: Board, model: BoardModel, setting: Setting) -> bool:
    return was_trained_on(model, setting) and best_layer(board, model.name, setting) is not None


def _note(board: Board, model: BoardModel, layer: str) -> str:
    """What casts doubt on the scores of a row, each thing once."""
    found = [
        score.note for key, score in board.scores.items() if key[:2] == (model.name, layer) and score.note
    ]
    found += [f"trained on clips of {one.task}" for one in board.settings if _trained_on(board, model, one)]
    return "; ".join(dict.fromkeys(found))


def _lacking(row: tuple[str, str], names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW_NAMES} more" if len(names) > _FEW_NAMES else ""
    return f"{'/'.join(row)} lacks {', '.join(names[:_FEW_NAMES])}{more}"


def rows(board: Board) -> list[tuple[BoardModel, str]]:
    """Every model and layer, and BEST where a model has several."""
    return [
        (model, layer)
        for model in board.models
        for layer in [*board.layers[model.name], *([BEST] if len(board.layers[model.name]) > 1 else [])]
    ]


def row_keys(board: Board) -> list[list[tuple[str, str, Setting]]]:
    """For every row, where its numbers stand: model, layer, column; the layer is empty where the model was not run."""
    return [
        [(model.name, _source(board, model.name, layer, setting), setting) for setting in board.settings]
        for model, layer in rows(board)
    ]


def cost_tables(board: Board, costs: Costs, width: int = terminal.WIDTH) -> list["rich.table.Table"]:
    """Lay out what the rows cost for the terminal; none where nothing was measured."""
    lines = [
        (model.label, layer, keys)
        for (model, layer), keys in zip(rows(board), row_keys(board), strict=True)
        if layer != BEST
    ]
    return of_frames.tables(board, lines, costs, width)


def headline_cells(board: Board, ties: Ties) -> list[list[Cell]]:
    """Lay out the headline columns.

    Args:
        board: The table.
        ties: How its rows stand.

    Returns:
        One list a row (as `rows`), one cell a setting.
    """
    laid = []
    places = {setting: _places(board, setting) for setting in board.settings}
    for model, layer in rows(board):
        cells = []
        for setting in board.settings:
            metric = board.metrics[setting][0]
            source = _source(board, model.name, layer, setting)
            key = model.name, source, setting
            text = show(metric, board.value(*key, metric))
            interval = _interval(board.scores[*key, metric], key in ties) if text else ""
            cells.append(Cell(text, places[setting].get(text, 0), ties.get(key), interval))
        laid.append(cells)
    return laid


def _clip_columns(board: Board, setting: Setting) -> list[list[str]]:
    """How many clips a column is of, and which each row lacks, where rows were scored on other ones."""
    shared = board.shared.get(setting)
    if shared is None:
        return []
    lines = rows(board)
    headline = board.metrics[setting][0]
    there = [_value(board, model.name, layer, setting, headline) is not None for model, layer in lines]
    lacks = [
        shared.missing.get((model.name, _source(board, model.name, layer, setting)), ())
        for model, layer in lines
    ]
    return [
        [f"{setting} clips", *(f"{len(shared.names)} of {shared.every}" if one else "" for one in there)],
        [f"{setting} missing clips", *("; ".join(names) for names in lacks)],
    ]


def arrow(metric: str) -> str:
    """Which way is better, as the heads of boards show it."""
    return {1: "↑", -1: "↓", 0: ""}[catalogue.find(metric).direction]


def no_interval(clips: int) -> str:
    """Say why there is no interval: the clips are too few, or too few of them differ."""
    return f"fewer than {FEWEST_CLIPS} clips" if clips < FEWEST_CLIPS else "clips too alike"


def _source(board: Board, model: str, layer: str, setting: Setting) -> str:
    """The layer whose scores stand in a row; empty where the model was not run."""
    return layer if layer != BEST else best_layer(board, model, setting) or ""


def _value(board: Board, model: str, layer: str, setting: Setting, metric: str) -> float | None:
    return board.value(model, _source(board, model, layer, setting), setting, metric)


def _places(board: Board, setting: Setting) -> dict[str, int]:
    """The best number of a column and the second, as printed -> 1 and 2."""
    metric = board.metrics[setting][0]
    values = [
        score.value
        for key, score in board.scores.items()
        if key[2:] == (setting, metric) and not math.isnan(score.value)
    ]
    sign = catalogue.find(metric).direction
    if not sign:
        return {}
    ordered = sorted(values, key=lambda value: -sign * value)
    texts = list(dict.fromkeys(show(metric, value) for value in ordered))
    return {text: place for place, text in enumerate(texts[:2], start=1)}


def _interval(score: Score, of_clips: bool) -> str:
    if math.isnan(score.ci_low):
        return no_interval(score.clips) if of_clips else ""
    return f"{show(score.metric, score.ci_low)} to {show(score.metric, score.ci_high)}"


def _head(board: Board, setting: Setting, metric: str) -> str:
    return f"{setting} {metric}" + (" (partial)" if setting in board.partial else "")


def _plain(value: object) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else str(value)
