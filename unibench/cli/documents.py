"""What lists and boards show, as one JSON document: records with the fields that they have in Python.

A value that is not defined (NaN) is `null`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from unibench.datasets import Benchmark
    from unibench.models.cards import Card
    from unibench.report.boards import Board
    from unibench.report.costs import Costs
    from unibench.report.leaderboard import Ties
    from unibench.tasks.family import Family


def show_models(cards: "Sequence[Card]") -> None:
    """Print cards: a list of `models.cards.Card`."""
    _print([asdict(card) for card in cards])


def show_tasks(benchmarks: "Mapping[str, Benchmark]", families: "Mapping[str, Family]") -> None:
    """Print `tasks` (of `datasets.Benchmark`, with the metric that ranks) and `protocols` (`tasks.family.Protocol`)."""
    tasks = [
        {
            "task": name,
            "folder": one.folder,
            "obtain": one.obtain,
            "detections": one.detections,
            "headline": one.headline or families[name.partition("/")[0]].scoring.headline,
        }
        for name, one in benchmarks.items()
    ]
    protocols = [
        {"family": family.name, **asdict(preset)}
        for family in families.values()
        for preset in family.presets.values()
    ]
    _print({"tasks": tasks, "protocols": protocols})


def show_board(board: "Board", tied: "Ties", costs: "Costs", notes: Sequence[str]) -> None:
    """Print a board: `scores` (`records.Score`, each model under its name on the board), `standings`, `costs`
    (`records.Cost`) and `notes`.
    """
    scores = [asdict(replace(score, model=model)) for (model, *_), score in board.scores.items()]
    standings = [
        {"model": model, "layer": layer, **asdict(setting), "standing": standing}
        for (model, layer, setting), standing in tied.items()
    ]
    told = [
        {"model": model, "layer": layer, **asdict(setting), **asdict(cost)}
        for (model, layer, setting), cost in costs.items()
    ]
    _print({"scores": scores, "standings": standings, "costs": told, "notes": notes})


def _print(document: object) -> None:
    click.echo(json.dumps(_plain(document), indent=1, allow_nan=False))


def _plain(value: object) -> Any:
    """As JSON has it: no NaN, no tuples, no paths."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
