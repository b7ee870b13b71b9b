"""The published record laid out as tables: as the papers print it, and as reference lines beside our own boards."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from unibench.metrics import catalogue
from unibench.report import terminal
from unibench.report.boards import PUBLISHED, Board
from unibench.report.published import TASKS, Row, family, rows
from unibench.report.terminal import Column
from unibench.results.atomic import csv_bytes, replace_file

if TYPE_CHECKING:
    import rich.table

_SYSTEM = ("system", "backbone", "layer")
_SETTING = ("benchmark", "split", "protocol")
_LABELS = ("paper", "table", *_SYSTEM, "split", "protocol")
_REFERENCE = "published, for reference; other code, clips and detections"
OURS = "(ours)"
"""In the column of the paper: a number of our own."""


@dataclass(frozen=True)
class PublishedTable:
    """Some rows of the record as a table."""

    name: str
    """Paper and table, or a task."""
    about: str
    """What holds for every number in it."""
    head: tuple[tuple[str, ...], ...]
    """The words that tell each column from the others."""
    lines: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]
    """Line and column of the numbers that are the best of their column."""
    labels: int
    """The first so many columns say what a line is."""


def papers() -> list[PublishedTable]:
    """Lay out every table of every paper, the best of each column marked among those of one protocol."""
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in rows():
        tables.setdefault((row.paper, row.table), []).append(row)
    return [_lay(", ".join(name), found, _SYSTEM, ranked=True) for name, found in tables.items()]


def beside(tasks: Iterable[str]) -> list[PublishedTable]:
    """Lay out what was published on some tasks, as reference lines: nothing is ranked.

    Args:
        tasks: Names of tasks, `vos/davis2017`; any of them several times.

    Returns:
        One table for each task on which something was published, in the order given.
    """
    found = [
        _lay(task, printed, _LABELS, ranked=False)
        for task in dict.fromkeys(tasks)
        if (printed := [row for row in rows() if TASKS.get(row.benchmark) == task])
    ]
    return [replace(one, about=_REFERENCE) for one in found]


def lines(patterns: Sequence[str], board: Board | None) -> list[PublishedTable]:
    """Lay out own scores and what was published in one table a task, a line for each model and protocol.

    Args:
        patterns: Of tasks, `mot/*`. What the papers on joint trackers printed of them on benchmarks without own scores
            stands in further tables.
        board: What runs have given on these tasks; None: nothing.

    Returns:
        The tables; nothing is ranked. None where nothing is known of these tasks.
    """
    record = [row for row in rows() if any(fnmatchcase(_task(row), pattern) for pattern in patterns)]
    own = _own(board, {row.metric for row in record}) if board else {}
    others: dict[str, list[Row]] = {}
    for row in record:
        task = TASKS.get(row.benchmark)
        if task in own:
            own[task].append(replace(row, benchmark=task))
        elif row.paper != "UniTrack":
            others.setdefault(row.benchmark, []).append(row)
    laid = [
        replace(
            _lay(task, found, _LABELS, ranked=False),
            about="ours" if found[-1].paper == OURS else f"ours; below them {_REFERENCE}",
        )
        for task, found in own.items()
    ]
    return laid + [
        replace(_lay(name, found, _LABELS, ranked=False), about=_REFERENCE) for name, found in others.items()
    ]


def _task(row: Row) -> str:
    """The task that a number is of; one of our making where we have no such benchmark."""
    return TASKS.get(row.benchmark, f"{family(row)}/{row.benchmark}")


def _own(board: Board, printed: set[str]) -> dict[str, list[Row]]:
    """Own scores as lines: task -> headline metrics, and those that papers print."""
    found: dict[str, list[Row]] = {}
    for model in board.models:
        for (name, layer, setting, metric), score in board.scores.items():
            if name == model.name and metric in {*printed, board.metrics[setting][0]}:
                split = "partial" if setting in board.partial else ""
                found.setdefault(setting.task, []).append(
                    Row(OURS, "", model.label, "", layer, setting.task, split, setting.protocol, metric,
                        catalogue.show(metric, score.value))
                )  # fmt: skip
    return found


def write_papers(out: Path) -> list[Path]:
    """Write every table of every paper as a CSV of its own: `unitrack-table-1.csv` and so on.

    Args:
        out: Folder to write to.

    Returns:
        The paths.

    Raises:
        OutputError: A file cannot be written.
    """
    return [
        replace_file(
            Path(out, one.name.lower().replace(", ", "-").replace(" ", "-") + ".csv"),
            csv_bytes([[" ".join(filter(None, words)) for words in one.head], *one.lines]),
        )
        for one in papers()
    ]


def write_beside(tasks: Iterable[str], out: Path) -> list[Path]:
    """Write what was published on some tasks to `published.csv`, one number a line.

    Args:
        tasks: Names of tasks.
        out: Folder to write to.

    Returns:
        The path; none where nothing was published on these tasks.

    Raises:
        OutputError: The file cannot be written.
    """
    lines = [
        [PUBLISHED, task, *asdict(row).values()]
        for task in dict.fromkeys(tasks)
        for row in rows()
        if TASKS.get(row.benchmark) == task
    ]
    head = ["source", "task", *(field.name for field in fields(Row))]
    return [replace_file(Path(out, "published.csv"), csv_bytes([head, *lines]))] if lines else []


def tables(published: PublishedTable, width: int = terminal.WIDTH) -> list["rich.table.Table"]:
    """Lay out a published table for the terminal, the best of each column in bold.

    Args:
        published: What the papers printed.
        width: Characters of a line.

    Returns:
        Tables that `rich` prints, with the same rows where one has no room for all columns; numbers stand as the paper
        has them.
    """
    from rich.text import Text  # only a terminal needs it

    columns = [
        Column(
            "\n".join(words),
            [
                Text(line[place], style="bold" if (index, place) in published.best else "")
                for index, line in enumerate(published.lines)
            ],
            "left",
        )
        for place, words in enumerate(published.head)
    ]
    title = f"{published.name}: {published.about}".removesuffix(": ")
    return terminal.fit(columns[: published.labels], columns[published.labels :], width, title=title)


def _lay(name: str, found: Sequence[Row], labels: Sequence[str], *, ranked: bool) -> PublishedTable:
    """One line for each value of the labels; what then still varies stands in the heads of the columns."""
    varying = [part for part in _SETTING if part not in labels and len(_values(found, [part])) > 1]
    of_line = [
        part for part in varying if len(_values(found, labels)) == len(_values(found, [*labels, part]))
    ]
    kept = [label for label in labels if any(getattr(row, label) for row in found)] + of_line
    telling = [*(part for part in varying if part not in of_line), "metric"]
    cells: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
    for row in found:
        cells.setdefault(_value(row, kept), {})[_value(row, telling)] = row.value
    fullest_first = sorted(cells.values(), key=len, reverse=True)  # so that columns stand as they are printed
    columns = list(dict.fromkeys(column for line in fullest_first for column in line))
    lines = [(*label, *(line.get(column, "") for column in columns)) for label, line in cells.items()]
    protocols = [label[len(kept) - len(of_line) :] for label in cells]
    best = {
        (index, place)
        for place, column in enumerate(columns, start=len(kept))
        for index in (_best(column[-1], protocols, [line[place] for line in lines]) if ranked else ())
    }
    about = ", ".join(getattr(found[0], part) for part in _SETTING if part not in (*labels, *varying))
    return PublishedTable(
        name, about, (*((label,) for label in kept), *columns), tuple(lines), frozenset(best), len(kept)
    )


def _best(metric: str, protocols: Sequence[tuple[str, ...]], values: Sequence[str]) -> list[int]:
    """Where the best of each protocol stands in a column; several places where several are equal."""
    sign = catalogue.find(metric).direction
    found = {index: sign * float(value) for index, value in enumerate(values) if value}
    return [
        index
        for index, value in found.items()
        if value == max(found[other] for other in found if protocols[other] == protocols[index])
    ]


def _value(row: Row, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in names)


def _values(found: Iterable[Row], names: Sequence[str]) -> set[tuple[str, ...]]:
    return {_value(row, names) for row in found}
