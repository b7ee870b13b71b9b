"""What the rows of a board cost: beside their scores in the files, and as a table of its own on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from unibench.records import Cost
from unibench.report import terminal
from unibench.report.boards import Board, Setting, titles
from unibench.report.terminal import Column
from unibench.results.store import read_cost, run_of

if TYPE_CHECKING:
    import rich.table

Costs = Mapping[tuple[str, str, Setting], Cost]
"""Name of the model on the board, layer, column -> what a frame costs; what was not measured is not there."""
NO_COSTS: Costs = MappingProxyType({})
Keys = Sequence[tuple[str, str, Setting]]
"""Of one row of a board, one a column; the layer is empty where the model was not run."""
UNITS = {"GFLOPs": 1e-9, "ms": 1e3, "MB": 1e-6}
"""How boards show what `Cost` has: 10^9 operations a frame, milliseconds a frame, 10^6 bytes."""


def read(board: Board, out: Path) -> Costs:
    """Read what the rows of a board cost.

    Args:
        board: The table.
        out: Root folder of the results.

    Raises:
        OutputError: A file is damaged.
    """
    runs = {
        (model, layer, setting): run_of(score) for (model, layer, setting, _), score in board.scores.items()
    }
    found = {key: read_cost(out, run) for key, run in runs.items()}
    return {key: cost for key, cost in found.items() if cost is not None}


def values(cost: Cost) -> dict[str, float]:
    """What a frame costs, in the units of boards."""
    return {
        "GFLOPs": UNITS["GFLOPs"] * cost.flops,
        "ms": UNITS["ms"] * cost.seconds,
        "MB": UNITS["MB"] * cost.memory,
    }


def show(value: float) -> str:
    """Print a cost with three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def of_row(keys: Keys, costs: Costs) -> list[str]:
    """What a row costs on every task alike: parameters, channels and stride, each empty where it is not known."""
    known = [costs[key] for key in keys if key in costs]
    return [
        _one({f"{one.parameters}" for one in known}),
        _one({f"{one.channels}" for one in known if one.channels}),
        _one({f"{one.stride}" for one in known if one.stride}),
    ]


OF_ROW = ("parameters", "channels", "stride")


def _one(found: set[str]) -> str:
    """What all agree on: a row that takes its better layer on each task may have several strides."""
    return found.pop() if len(found) == 1 else ""


def columns(rows: Sequence[Keys], costs: Costs) -> list[list[str]]:
    """Columns of a file: those of whole rows, then for each task what a frame costs, then what measured it.

    Args:
        rows: Of the board, in order.
        costs: From `read`.

    Returns:
        Each with its head first; none where nothing is known.
    """
    if not costs:
        return []
    found = [list(column) for column in zip(OF_ROW, *(of_row(keys, costs) for keys in rows), strict=True)]
    for setting in dict.fromkeys(key[2] for keys in rows for key in keys):
        cells = [
            [values(costs[key]) if key in costs else {} for key in keys if key[2] == setting] for keys in rows
        ]
        found += [
            [f"{setting} {unit}", *(show(one[unit]) if unit in one else "" for (one,) in cells)]
            for unit in UNITS
        ]
    machines = [{machine(costs[key]) for key in keys if key in costs} for keys in rows]
    return [*found, ["timed on", *("; ".join(sorted(one)) for one in machines)]]


def machine(cost: Cost) -> str:
    """Name what measured the time."""
    return f"{cost.device}, {cost.threads} thread{'s' if cost.threads > 1 else ''}"


def tables(
    board: Board, lines: Sequence[tuple[str, str, Keys]], costs: Costs, width: int = terminal.WIDTH
) -> list["rich.table.Table"]:
    """Lay out what the rows of a board cost for the terminal.

    Args:
        board: The table.
        lines: Label of the model, layer, and the keys of its row.
        costs: From `read`.
        width: Characters of a line.

    Returns:
        Tables that `rich` prints; none where nothing is known.
    """
    known = [line for line in lines if any(key in costs for key in line[2])]
    if not known:
        return []
    fixed = [of_row(keys, costs) for _, _, keys in known]
    names = [
        Column("model", [label for label, _, _ in known], "left"),
        Column("layer", [layer for _, layer, _ in known], "left"),
    ]
    laid = [
        Column("parameters\nx 10^6", [f"{int(one[0]) / 1e6:.2f}" if one[0] else "" for one in fixed]),
        Column("channels", [one[1] for one in fixed]),
        Column("stride", [one[2] for one in fixed]),
    ]
    for place, (title, setting) in enumerate(zip(titles(board), board.settings, strict=True)):
        cells = [values(costs[keys[place]]) if keys[place] in costs else {} for _, _, keys in known]
        if not any(cells):
            continue
        name = " ".join(
            line for line in title.split("\n") if line not in ("(partial)", board.metrics[setting][0])
        )
        laid += [
            Column(f"{name}\n{unit}", [show(one[unit]) if one else "" for one in cells]) for unit in UNITS
        ]
    return terminal.fit(names, laid, width, title="What a frame costs")


def notes(costs: Costs) -> list[str]:
    """Say what the numbers of the costs are."""
    if not costs:
        return []
    machines = sorted({machine(one) for one in costs.values()})
    return [
        "Costs: of the network alone, without the head (of a joint tracker: of all), one frame in a pass. GFLOPs: "
        "convolutions, matrix products and attention, a multiply-add as two. MB: weights and maps that are alive at "
        f"once, counted. ms: median, on {'; '.join(machines)}."
    ]
