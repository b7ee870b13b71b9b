"""What the pages of boards show: the start page, a page a setting."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.report import boards, leaderboard, published_tables, radar, sensitivity
from unibench.report.boards import Board, Setting
from unibench.report.leaderboard import BEST, Cell, Standing
from unibench.site import contents as reading
from unibench.site.contents import Contents, RowKey
from unibench.stats.bootstrap import FEWEST_CLIPS
from unibench.tasks.registry import FAMILIES, family_of

SHADES = 10
"""Steps of colour of a heat map, after the first."""
LABELS = ("paper", "table", "system", "backbone", "layer", "split", "protocol")
"""Heads of the published tables that stand above words."""


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
        "clips": sum(len(one.clips) for columns in site.columns.values() for one in columns.values()),
        "changed": reading.last_change(runs),
        "commands": reading.commands(runs),
        "radar": _radar(site),
        "pareto": _pareto(site, heads),
        "published": _published(heads),
        "notes": leaderboard.notes(board, site.ties),
        "fewest": FEWEST_CLIPS,
        "any_best": any(row.layer == BEST for row in rows),
        "filters": _filters(heads, rows),
    }


def _radar(site: Contents) -> dict[str, Any]:
    """Ranks of every model on every setting, and whether it can be told apart from the best there."""
    board = site.board
    places = radar.ranks(board)

    def sure(model: str, setting: Setting, rank: float) -> bool:
        standing = site.ties.get((model, boards.best_layer(board, model, setting) or "", setting))
        return standing == Standing.BEHIND or (standing == Standing.BEST and rank == 1)

    return {
        "axes": [
            {"title": title.split("\n"), "weak": int(np.isfinite(places[:, column]).sum()) < 2}
            for column, title in enumerate(boards.titles(board))
        ],
        "models": [
            {
                "name": model.label,
                "ranks": [None if math.isnan(rank) else int(rank) for rank in row],
                "sure": [sure(model.name, *one) for one in zip(board.settings, row, strict=True)],
            }
            for model, row in zip(board.models, places.tolist(), strict=True)
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


def list_heads(site: Contents) -> list[Head]:
    """Every setting, in the order of the boards."""
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


def task(
    site: Contents, head: Head, heads: Sequence[Head], clip_pages: Mapping[str, str], without: str
) -> dict[str, Any]:
    """What the page of a setting shows.

    Args:
        site: What there is.
        head: The setting.
        heads: All of them.
        clip_pages: Name of a clip -> its page.
        without: Why some clips have no page; empty: all have.
    """
    setting, columns = head.setting, site.columns[head.setting]
    metrics = site.board.metrics[setting]
    clips = [name for name, _ in reading.clip_order(site, setting)]
    return {
        "head": head,
        "family": family_of(setting.task),
        "frames": next(iter(columns.values())).score.frames,
        "definition": catalogue.find(head.headline).definition,
        "others": [one for one in heads if one.setting.task == setting.task and one is not head],
        "metrics": [
            {
                "name": name,
                "arrow": leaderboard.arrow(name),
                "direction": int(catalogue.find(name).direction),
                "definition": catalogue.find(name).definition,
            }
            for name in metrics
        ],
        "ranking": ranking(site, setting),
        "notes": [line for line in leaderboard.notes(_alone(site.board, setting), site.ties) if line],
        "clips": [{"name": name, "page": clip_pages.get(name, "")} for name in clips],
        "pages": clip_pages,
        "without": without,
        "heat": _heat(site, setting, clips),
        "sensitivity": _sensitivity(site.board, setting),
        "published": published_tables.beside([setting.task]),
        "labels": LABELS,
    }


def _alone(board: Board, setting: Setting) -> Board:
    return replace(board, settings=(setting,), shared={})


def ranking(site: Contents, setting: Setting) -> list[dict[str, Any]]:
    """The rows of a setting, best first; equal numbers as printed share a place."""
    board = site.board
    column = board.settings.index(setting)
    cells = {
        (model.name, layer): of_row[column]
        for (model, layer), of_row in zip(
            leaderboard.rows(board), leaderboard.headline_cells(board, site.ties), strict=True
        )
    }
    found: list[dict[str, Any]] = []
    for place, row in enumerate(site.columns[setting], start=1):
        tied = bool(found) and found[-1]["cell"].text == cells[row].text
        name, layer = row
        found.append(
            {
                "place": found[-1]["place"] if tied else place,
                "name": name,
                "file": site.files.models[name],
                "kind": reading.kind(layer),
                "layer": layer,
                "cell": cells[row],
                "others": [
                    catalogue.show(metric, board.value(name, layer, setting, metric))
                    for metric in board.metrics[setting][1:]
                ],
            }
        )
    return found


def _heat(site: Contents, setting: Setting, clips: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of cells, from the worst (shade 0) to the best score; empty where there is none."""
    headline, columns = site.board.metrics[setting][0], site.columns[setting]
    metric = catalogue.find(headline)
    values = [value for one in columns.values() for value in one.values.values() if not math.isnan(value)]
    low, high = (0.0, 1.0) if metric.unit == "fraction" else (min(values, default=0), max(values, default=1))

    def cell(value: float) -> dict[str, Any]:
        if math.isnan(value):
            return {"shade": "", "text": ""}
        share = min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
        good = 1 - share if metric.direction < 0 else share
        return {"shade": round(SHADES * good), "text": f"{catalogue.scale(headline) * value:.0f}"}

    return [
        {
            "file": site.files.rows[row],
            "name": row[0],
            "layer": row[1] if len(site.board.layers[row[0]]) > 1 else "",
            "cells": [cell(column.values.get(name, math.nan)) for name in clips],
        }
        for row, column in columns.items()
    ]


def _sensitivity(board: Board, setting: Setting) -> dict[str, Any] | None:
    twins = tuple(
        one for one in board.settings if (one.task, one.detections) == (setting.task, setting.detections)
    )
    if len(twins) < 2:
        return None
    try:
        (found,) = sensitivity.compute(replace(board, settings=twins))
    except OutputError:  # not run on the same clips and frames
        return None
    show = catalogue.show

    def cells(row: int) -> list[str]:
        ranks = ["" if math.isnan(rank) else f" ({rank:.0f})" for rank in found.ranks[row].tolist()]
        shown = [show(found.metric, value) for value in found.values[row].tolist()]
        move = float(found.moves[row])
        return [
            *map("".join, zip(shown, ranks, strict=True)),
            show(found.metric, float(found.ranges[row])),
            "" if math.isnan(move) else f"{move:.0f}",
        ]

    rows: Iterable[tuple[int, RowKey]] = enumerate(found.rows)
    return {
        "metric": found.metric,
        "protocols": found.protocols,
        "rows": [{"name": name, "layer": layer, "cells": cells(row)} for row, (name, layer) in rows],
        "taus": [
            (*pair, "all equal" if math.isnan(tau) else f"{tau:.2f}") for pair, tau in found.taus().items()
        ],
    }


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
