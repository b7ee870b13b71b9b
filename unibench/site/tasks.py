"""What the page of a setting shows: ranking, scores clip by clip, other protocols, what papers printed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.report import boards, costs, leaderboard, published_tables, sensitivity
from unibench.report.boards import Board, Setting
from unibench.site import contents as reading
from unibench.site.contents import Contents
from unibench.tasks.registry import FAMILIES, family_of

SHADES = 10
"""Steps of colour of a heat map, after the first."""
LABELS = ("paper", "table", "system", "backbone", "layer", "split", "protocol")
"""Heads of the published tables that stand above words."""


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


def list_heads(site: Contents) -> list[Head]:
    """Every setting, in the order of the boards."""
    board = site.board
    found = []
    for setting, title in zip(board.settings, boards.titles(board), strict=True):
        headline, family = board.metrics[setting][0], setting.task.partition("/")[0]
        results = site.results[setting]
        found.append(
            Head(
                setting=setting,
                file=site.files.settings[setting],
                family=FAMILIES[family].title if family in FAMILIES else family,
                title=tuple(title.split("\n")),
                headline=headline,
                arrow=leaderboard.arrow(headline),
                direction=int(catalogue.find(headline).direction),
                rows=len(results),
                clips=next(iter(results.values())).score.clips,
                partial=setting in board.partial,
            )
        )
    return found


def page(
    site: Contents, head: Head, heads: Sequence[Head], clip_pages: Mapping[str, str], without: str,
    hard: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """What the page of a setting shows.

    Args:
        site: What there is.
        head: The setting.
        heads: All of them.
        clip_pages: Name of a clip -> its page.
        without: Why some clips have no page; empty: all have.
        hard: Scores of the clips with each attribute; see `attributes.table`.
    """
    setting, results = head.setting, site.results[head.setting]
    metrics = site.board.metrics[setting]
    clips = reading.clip_order(site, setting)
    return {
        "head": head,
        "family": family_of(setting.task),
        "frames": next(iter(results.values())).score.frames,
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
        "costs": _cost_heads(site, setting),
        "notes": [
            *leaderboard.notes(_alone(site.board, setting), site.ties),
            *costs.notes({key: one for key, one in site.costs.items() if key[2] == setting}),
        ],
        "clips": [{"name": name, "page": clip_pages.get(name, "")} for name in clips],
        "pages": clip_pages,
        "without": without,
        "heat": _heat(site, setting, clips),
        "hard": hard,
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
    for place, row in enumerate(site.results[setting], start=1):
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
                "costs": _costs(site, (name, layer, setting)),
            }
        )
    return found


def _cost_heads(site: Contents, setting: Setting) -> list[str]:
    """Heads of the columns of costs; none where nothing was measured."""
    return [*costs.OF_ROW, *costs.UNITS] if any(key[2] == setting for key in site.costs) else []


def _costs(site: Contents, key: tuple[str, str, Setting]) -> list[str]:
    """A cell a head."""
    if key not in site.costs:
        return [""] * len(_cost_heads(site, key[2]))
    return [*costs.of_row([key], site.costs), *map(costs.show, costs.values(site.costs[key]).values())]


def _heat(site: Contents, setting: Setting, clips: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of cells, from the worst (shade 0) to the best score; empty where there is none."""
    headline, results = site.board.metrics[setting][0], site.results[setting]
    metric = catalogue.find(headline)
    values = [value for one in results.values() for value in one.values.values() if not math.isnan(value)]
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
            "cells": [cell(result.values.get(name, math.nan)) for name in clips],
        }
        for row, result in results.items()
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

    return {
        "metric": found.metric,
        "protocols": found.protocols,
        "rows": [
            {"name": name, "layer": layer, "cells": cells(row)}
            for row, (name, layer) in enumerate(found.rows)
        ],
        "taus": [
            (*pair, "all equal" if math.isnan(tau) else f"{tau:.2f}") for pair, tau in found.taus().items()
        ],
    }
