"""How much the choice of a protocol moves each model's score and rank, task by task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau, rankdata

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.metrics.catalogue import show
from unibench.records import Score
from unibench.report import terminal
from unibench.report.boards import Board, Setting
from unibench.report.terminal import Column
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks.registry import family_of

if TYPE_CHECKING:
    import rich.table

FEWEST = 3
"""Models below which two orders of them say nothing."""
TOO_FEW = "too few models"
_PROTOCOL = ("protocol", "protocol_version", "protocol_hash")


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """One task, with one kind of detections, under several protocols."""

    task: str
    detections: str
    metric: str
    """The headline."""
    partial: bool
    """Only a part of the task was run."""
    protocols: tuple[str, ...]
    """The family's default first."""
    marks: tuple[tuple[str, str], ...]
    """Version and hash of each protocol."""
    rows: tuple[tuple[str, str], ...]
    """Model and layer."""
    values: Float[np.ndarray, "row protocol"]
    """Fractions or counts; NaN where it was not run."""
    ranks: Float[np.ndarray, "row protocol"]
    """1 is best, equal scores share the better rank; among the rows that have a score under every protocol, NaN for the
    others."""

    @property
    def models(self) -> int:
        """Number of models that have a rank."""
        return len(
            {model for (model, _), rank in zip(self.rows, self.ranks, strict=True) if rank[0] == rank[0]}
        )

    @property
    def ranges(self) -> Float[np.ndarray, " row"]:
        """Highest less lowest score of each row over the protocols; NaN where it has fewer than two."""
        ranges = np.nanmax(self.values, axis=1) - np.nanmin(self.values, axis=1)
        return np.where((~np.isnan(self.values)).sum(axis=1) > 1, ranges, np.nan)

    @property
    def moves(self) -> Float[np.ndarray, " row"]:
        """Worst less best rank of each row over the protocols; NaN where it has none."""
        moves: Float[np.ndarray, " row"] = self.ranks.max(axis=1) - self.ranks.min(axis=1)
        return moves

    def taus(self) -> dict[tuple[str, str], float]:
        """How alike two protocols rank: 1 the same order, -1 the opposite.

        Returns:
            Two protocols -> Kendall's tau-b over the ranked rows; NaN where under one of the two all scores are equal.
            Empty below `FEWEST` models.
        """
        ranked = self.ranks[~np.isnan(self.ranks).any(axis=1)]
        return {
            (first, second): float(kendalltau(ranked[:, one], ranked[:, other]).statistic)
            for (one, first), (other, second) in combinations(enumerate(self.protocols), 2)
            if self.models >= FEWEST
        }


def compute(board: Board) -> list[Sensitivity]:
    """Compare the protocols of every task that was run under several.

    Args:
        board: Scores in order.

    Returns:
        One a task and kind of detections, in the order of the boards.

    Raises:
        OutputError: No task was run under several protocols, or protocols of a task were not run on the same data.
    """
    groups: dict[tuple[str, str], list[Setting]] = {}
    for setting in board.settings:
        groups.setdefault((setting.task, setting.detections), []).append(setting)
    several = {key: sorted(group, key=_preset_order) for key, group in groups.items() if len(group) > 1}
    if not several:
        raise OutputError(
            "sensitivity: no task was run under several protocols, expected one or more; "
            "run for instance `unibench run -t 'vos/synthetic@*'`"
        )
    found = []
    for group in several.values():
        rows = [next(one for key, one in board.scores.items() if key[2] == setting) for setting in group]
        _check_same_data(group[0].task, rows)
        marks = tuple((row.protocol_version, row.protocol_hash) for row in rows)
        found.append(_sensitivity(board, group, marks))
    return found


def write(found: Sequence[Sensitivity], out: Path) -> list[Path]:
    """Write `sensitivity.csv`, one row a model, layer and protocol, and `sensitivity_tau.csv`, one a pair of protocols.

    Fractions are not times 100 but in full precision; what is not defined is blank.

    Args:
        found: What `compute` gave.
        out: Folder to write to.

    Returns:
        The two paths.

    Raises:
        OutputError: A file cannot be written.
    """
    shared = ["task", "detections", "metric", "partial"]
    rows: list[list[object]] = [
        [*shared, "model", "layer", *_PROTOCOL, "value", "rank", "value_range", "rank_range"]
    ]
    pairs: list[list[object]] = [[*shared, "first", "second", "models", "kendall_tau"]]
    for one in found:
        about = [one.task, one.detections, one.metric, one.partial]
        ranges, moves = one.ranges, one.moves
        for row, column in np.ndindex(one.values.shape):
            numbers = map(float, (one.values[row, column], one.ranks[row, column], ranges[row], moves[row]))
            row_start = [*about, *one.rows[row], one.protocols[column], *one.marks[column]]
            rows.append([*row_start, *map(_plain, numbers)])
        taus = one.taus()
        for pair in combinations(one.protocols, 2):
            pairs.append([*about, *pair, one.models, _plain(taus[pair]) if taus else TOO_FEW])
    return [
        replace_file(Path(out, "sensitivity.csv"), csv_bytes(rows)),
        replace_file(Path(out, "sensitivity_tau.csv"), csv_bytes(pairs)),
    ]


def tables(found: Sequence[Sensitivity], width: int = terminal.WIDTH) -> list["rich.table.Table"]:
    """Lay out each task for the terminal: score and rank under each protocol, how far they move, the tau of any two.

    Args:
        found: What `compute` gave.
        width: Characters of a line.
    """
    return [
        table
        for one in found
        for table in [*_scores_tables(one, width), *(_taus_tables(one, width) if one.taus() else [])]
    ]


def notes(found: Sequence[Sensitivity]) -> list[str]:
    """Say what the numbers are, and of which tasks there is no tau.

    Args:
        found: What `compute` gave.
    """
    few = [one.task for one in found if not one.taus()]
    lines = ["Score (rank); fractions x 100."]
    return lines + (
        [f"No Kendall's tau of {', '.join(few)}: {TOO_FEW}, expected {FEWEST} or more."] if few else []
    )


def _scores_tables(one: Sensitivity, width: int) -> list["rich.table.Table"]:
    title = " ".join(filter(None, [one.task, one.detections, one.metric, "(partial)" if one.partial else ""]))
    names = [
        Column("model", [model for model, _ in one.rows], "left"),
        Column("layer", [layer for _, layer in one.rows], "left"),
    ]
    columns = [
        Column(
            protocol,
            [
                show(one.metric, value) + ("" if math.isnan(rank) else f" ({rank:.0f})")
                for value, rank in zip(values, ranks, strict=True)
            ],
        )
        for protocol, values, ranks in zip(
            one.protocols, one.values.T.tolist(), one.ranks.T.tolist(), strict=True
        )
    ]
    moves = ["" if math.isnan(move) else f"{move:.0f}" for move in one.moves]
    columns += [
        Column("range", [show(one.metric, float(value)) for value in one.ranges]),
        Column("rank moves by", moves),
    ]
    return terminal.fit(names, columns, width, title=title)


def _taus_tables(one: Sensitivity, width: int) -> list["rich.table.Table"]:
    taus = one.taus()
    columns = []
    for column in one.protocols:
        found = [taus.get((row, column), taus.get((column, row), 1.0)) for row in one.protocols]
        columns.append(Column(column, ["all equal" if math.isnan(tau) else f"{tau:.2f}" for tau in found]))
    title = f"{one.task}: Kendall's tau of the orders of {one.models} models under two protocols"
    return terminal.fit([Column("", one.protocols, "left")], columns, width, title=title)


def _sensitivity(board: Board, group: Sequence[Setting], marks: tuple[tuple[str, str], ...]) -> Sensitivity:
    metric = board.metrics[group[0]][0]
    values = {
        (model.name, layer): [
            math.nan if (value := board.value(model.name, layer, setting, metric)) is None else value
            for setting in group
        ]
        for model in board.models
        for layer in board.layers[model.name]
    }
    values = {row: found for row, found in values.items() if not all(map(math.isnan, found))}
    table = np.array(list(values.values()), dtype=np.float64).reshape(-1, len(group))
    whole = ~np.isnan(table).any(axis=1)
    ranks = np.full_like(table, np.nan)
    ranks[whole] = rankdata(-catalogue.find(metric).direction * table[whole], method="min", axis=0)
    return Sensitivity(
        task=group[0].task,
        detections=group[0].detections,
        metric=metric,
        partial=any(setting in board.partial for setting in group),
        protocols=tuple(map(_name, group)),
        marks=marks,
        rows=tuple(values),
        values=table,
        ranks=ranks,
    )


def _check_same_data(task: str, rows: Sequence[Score]) -> None:
    """Protocols of one task, unlike tasks, must be compared on the same clips and frames."""
    found: dict[tuple[str, int, int], str] = {}
    for row in rows:
        found.setdefault((row.data_hash, row.clips, row.frames), row.protocol)
    if len(found) > 1:
        ran = ", ".join(
            f"{name} on {clips} clips and {frames} frames" for (_, clips, frames), name in found.items()
        )
        raise OutputError(
            f"{task}: protocols were not run on the same data ({ran}), expected the same clips and frames; "
            "run them again with one --frames, or name other tasks with -t"
        )


def _preset_order(setting: Setting) -> tuple[int, str]:
    """Presets as their family lists them, the default first; others behind them."""
    names = list(family_of(setting.task).presets)
    name = _name(setting)
    return (names.index(name) if name in names else len(names)), name


def _name(setting: Setting) -> str:
    """The preset alone: `unitrack` of `unitrack+public`."""
    return setting.protocol.removesuffix(f"+{setting.detections}")


def _plain(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
