"""Pages of boards: the start page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unibench.metrics import catalogue
from unibench.report import boards, leaderboard
from unibench.report.boards import Setting
from unibench.report.leaderboard import BEST, Cell
from unibench.site import contents as reading
from unibench.site.contents import Contents
from unibench.stats.bootstrap import FEWEST_CLIPS
from unibench.tasks.registry import FAMILIES


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


@dataclass(frozen=True)
class Head:
    """One setting as pages list it."""

    setting: Setting
    file: str
    family: str
    title: tuple[str, ...]
    headline: str
    arrow: str
    direction: int
    rows: int
    clips: int
    partial: bool


def start(site: Contents) -> dict[str, Any]:
    """What the start page shows."""
    board = site.board
    rows, heads = _rows(site), _heads(site)
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
        "clips": sum(len(one.clips) for columns in site.columns.values() for one in columns.values()),
        "changed": reading.last_change(runs),
        "commands": reading.commands(runs),
        "notes": leaderboard.notes(board, site.ties),
        "fewest": FEWEST_CLIPS,
        "any_best": any(row.layer == BEST for row in rows),
        "filters": {
            "task": _unique(head.family for head in heads),
            "protocol": sorted({head.setting.protocol for head in heads}),
            "kind": _unique(row.kind for row in rows),
            "group": _unique(row.group for row in rows if row.group),
            "layer": _unique(row.layer for row in rows if row.layer != BEST),
        },
    }


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


def _heads(site: Contents) -> list[Head]:
    board = site.board
    found = []
    for setting, title in zip(board.settings, boards.titles(board), strict=True):
        headline, family = board.metrics[setting][0], setting.task.partition("/")[0]
        columns = site.columns[setting]
        found.append(
            Head(
                setting=setting,
                file=site.files.settings[setting],
                family=FAMILIES[family].title if family in FAMILIES else family,
                title=tuple(title.split("\n")),
                headline=headline,
                arrow=leaderboard.arrow(headline),
                direction=int(catalogue.find(headline).direction),
                rows=len(columns),
                clips=next(iter(columns.values())).score.clips,
                partial=setting in board.partial,
            )
        )
    return found


def _unique(words: Any) -> Sequence[str]:
    return list(dict.fromkeys(words))
