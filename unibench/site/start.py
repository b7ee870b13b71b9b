"""What the start page shows: leaderboard, radar, parameters against scores."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unibench.metrics import catalogue
from unibench.report import boards, leaderboard, published_tables, radar
from unibench.report.leaderboard import BEST, Cell
from unibench.site import contents as reading
from unibench.site.contents import Contents
from unibench.site.tasks import Head, list_heads
from unibench.stats.bootstrap import FEWEST_CLIPS


@dataclass(frozen=True)
class Row:
    """One row of the leaderboard."""

    name: str
    file: str
    kind: str
    group: str
    layer: str
    best: bool
    """The one row of its model that stands for it: its only layer, or the better one of each task."""
    top1: str
    cells: tuple[Cell, ...]


def page(site: Contents) -> dict[str, Any]:
    """What the start page shows."""
    board = site.board
    rows, heads = _rows(site), list_heads(site)
    runs = [run for of_row in site.runs.values() for run in of_row.values()]
    return {
        "settings": heads,
        "rows": rows,
        "models": [
            {
                "name": model.name,
                "file": site.files.models[model.name],
                "kind": reading.model_kind(board, model),
                "description": site.cards[model.name].description if model.name in site.cards else "",
            }
            for model in board.models
        ],
        "clips": sum(len(one.clips) for results in site.results.values() for one in results.values()),
        "changed": reading.last_change(runs),
        "commands": reading.commands(runs),
        "radar": _radar(site),
        "pareto": _pareto(site, heads),
        "published": _published(heads),
        "notes": leaderboard.notes(board, site.ties),
        "fewest": FEWEST_CLIPS,
        "filters": _filters(heads, rows),
    }


def _radar(site: Contents) -> dict[str, Any]:
    """Ranks of every model on every setting, and whether it can be told apart from the best there."""
    board = site.board
    places, told = boards.ranks(board), radar.told_apart(board, site.ties)
    weak = radar.weaknesses(board, site.ties)
    return {
        "axes": [
            {"title": title.split("\n"), "weak": bool(why)}
            for title, why in zip(boards.titles(board), weak, strict=True)
        ],
        "models": [
            {
                "name": model.label,
                "ranks": [None if math.isnan(rank) else int(rank) for rank in row],
                "sure": sure,
            }
            for model, row, sure in zip(board.models, places.tolist(), told.tolist(), strict=True)
        ],
    }


def _pareto(site: Contents, heads: Sequence[Head]) -> dict[str, Any]:
    """Parameters and scores, as boards print these, of the models whose cards count their parameters."""
    board = site.board

    def score(value: float, head: Head) -> float | None:
        return None if math.isnan(value) else round(catalogue.scale(head.headline) * value, 2)

    known = [
        (model, row, site.cards[model.name].architecture.parameters)
        for model, row in zip(board.models, boards.headlines(board).tolist(), strict=True)
        if model.name in site.cards
    ]
    return {
        "tasks": [
            {"title": " ".join([*head.title, head.arrow]), "direction": head.direction or 1} for head in heads
        ],
        "models": [
            {
                "name": model.label,
                "parameters": parameters,
                "scores": [score(*one) for one in zip(row, heads, strict=True)],
            }
            for model, row, parameters in known
            if parameters
        ],
    }


def _published(heads: Sequence[Head]) -> list[Head]:
    """One setting of each task on which papers printed something."""
    of_task = {head.setting.task: head for head in reversed(heads)}
    return [of_task[task] for task in reversed(of_task) if published_tables.beside([task])]


def _filters(heads: Sequence[Head], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the leaderboard can be filtered by: whatever has several values."""
    choices = {
        ("task", "Task"): [head.family for head in heads],
        ("protocol", "Protocol"): sorted(head.setting.protocol for head in heads),
        ("kind", "Kind"): [row.kind for row in rows],
        ("group", "Supervision"): [row.group for row in rows if row.group],
        ("layer", "Layer"): [row.layer for row in rows if row.layer != BEST],
    }
    best = any(row.layer == BEST for row in rows)
    return [
        {"name": name, "label": label, "choices": _unique(found), "best": best and name == "layer"}
        for (name, label), found in choices.items()
        if len(set(found)) > 1
    ]


def _rows(site: Contents) -> list[Row]:
    board = site.board
    lines = leaderboard.rows(board)
    cells = leaderboard.headline_cells(board, site.ties)
    return [
        Row(
            name=model.name,
            file=site.files.models[model.name],
            kind=reading.kind(layer),
            group=model.group,
            layer=layer,
            best=layer == BEST or len(board.layers[model.name]) == 1,
            top1=catalogue.show("top-1", model.imagenet_top1),
            cells=tuple(of_row),
        )
        for (model, layer), of_row in zip(lines, cells, strict=True)
    ]


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
