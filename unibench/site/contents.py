"""What the pages show, read from the results once."""

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unibench.errors import DataError, OutputError, TrackerError
from unibench.evaluation.external import EXTERNAL
from unibench.metrics import catalogue
from unibench.models import cards
from unibench.models.cards import JOINT, Card
from unibench.records import LoadReport, Score
from unibench.report import boards, card_facts, compare, stored
from unibench.report import costs as of_frames
from unibench.report.boards import Board, BoardModel, Setting
from unibench.report.costs import Costs
from unibench.report.leaderboard import Ties
from unibench.results import store
from unibench.results.store import ClipResult, read_run, run_of
from unibench.site.names import file_names
from unibench.tasks.registry import family_of

KINDS = {JOINT: "joint", EXTERNAL: "external"}
"""Layer -> kind of the model that has it; all others are frozen."""
RowKey = tuple[str, str]
"""Name of the model on the board, layer."""


@dataclass(frozen=True, eq=False)
class Result:
    """What one row has in one setting: its score, and what it is pooled from."""

    score: Score
    """Of the headline metric."""
    clips: Mapping[str, ClipResult]
    """By name; none where they are not stored."""
    values: Mapping[str, float]
    """Name of the clip -> the headline metric of this clip alone; NaN where it is not defined."""


@dataclass(frozen=True, eq=False)
class Contents:
    """Everything about a folder of results."""

    out: Path
    board: Board
    ties: Ties
    costs: Costs
    results: Mapping[Setting, Mapping[RowKey, Result]]
    """Setting -> its rows, best first."""
    cards: Mapping[str, Card]
    """Name of the model on the board -> its card; models without a card are not there."""
    loaded: Mapping[str, LoadReport]
    """Name of the model on the board -> what became of its weights; models of which nothing is stored are not there."""
    runs: Mapping[RowKey, Mapping[Setting, Mapping[str, Any]]]
    """How each result came about."""
    files: "Files"


@dataclass(frozen=True)
class Files:
    """Names of files and folders, without endings."""

    settings: Mapping[Setting, str]
    models: Mapping[str, str]
    rows: Mapping[RowKey, str]
    tasks: Mapping[str, str]
    clips: Mapping[str, Mapping[str, str]]
    """Task -> name of the clip -> name of its file."""


def read(out: Path) -> Contents:
    """Read a folder of results.

    Args:
        out: Root folder of the results.

    Raises:
        UnibenchError: There are none, they are damaged, or they must not stand on one board.
    """
    scores = stored.scores(out)
    board = boards.arrange(scores, card_facts.collect(score.model for score in scores), out)
    results = {setting: _results(board, setting, out) for setting in board.settings}
    runs: dict[RowKey, dict[Setting, Mapping[str, Any]]] = {}
    for setting, of_rows in results.items():
        for row, result in of_rows.items():
            runs.setdefault(row, {})[setting] = read_run(out, run_of(result.score))
    ties, costs = compare.ties(board, out), of_frames.read(board, out)
    models = _models(results)
    cards_of, loaded = _cards(models, out), _loaded(models, out)
    return Contents(out, board, ties, costs, results, cards_of, loaded, runs, _files(board, results))


def kind(layer: str) -> str:
    """Kind of the model that a layer is of: frozen, joint, external."""
    return KINDS.get(layer, "frozen")


def model_kind(board: Board, model: BoardModel) -> str:
    """Kind of a model."""
    return next((KINDS[layer] for layer in board.layers[model.name] if layer in KINDS), "frozen")


def commands(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The commands that gave results, as a shell takes them, each once."""
    found = (run["command"] for run in runs if isinstance(run.get("command"), list))
    words = ([Path(str(first)).name, *map(str, rest)] for first, *rest in filter(None, found))
    return sorted({shlex.join(line) for line in words})


def last_change(runs: Iterable[Mapping[str, Any]]) -> str:
    """The day of the latest result; empty where no run has noted it."""
    return max((str(run.get("end", "")) for run in runs), default="")[:10]


def _results(board: Board, setting: Setting, out: Path) -> dict[RowKey, Result]:
    headline = board.metrics[setting][0]
    found = {}
    for (model, layer, column, metric), score in board.scores.items():
        if (column, metric) == (setting, headline):
            clips = _clips(out, score)
            values = {name: clip_value(score.task, headline, one) for name, one in clips.items()}
            found[model, layer] = Result(score, clips, values)
    sign = catalogue.find(headline).direction or 1

    def place(row: RowKey) -> tuple[bool, float, RowKey]:
        value = found[row].score.value
        return math.isnan(value), 0.0 if math.isnan(value) else -sign * value, row

    return {row: found[row] for row in sorted(found, key=place)}


def _clips(out: Path, score: Score) -> dict[str, ClipResult]:
    try:
        return stored.clips(out, score)
    except OutputError:  # a score without clips
        return {}


def clip_value(task: str, metric: str, one: ClipResult) -> float:
    """A metric of one clip alone; NaN where it is not defined."""
    try:
        return float(family_of(task).scoring.pool([one.tally])[metric])
    except (DataError, TrackerError):  # nothing in this clip counts
        return math.nan


def _models(results: Mapping[Setting, Mapping[RowKey, Result]]) -> dict[str, tuple[str, str]]:
    """Name on the board of every model that is no external result -> its own name and fingerprint."""
    return {
        name: (result.score.model, result.score.weights_hash)
        for of_rows in results.values()
        for (name, layer), result in of_rows.items()
        if kind(layer) != EXTERNAL
    }


def _cards(models: Mapping[str, tuple[str, str]], out: Path) -> dict[str, Card]:
    """The cards beside the results, and of other models those that their names find."""
    beside, known = store.card_files(out), cards.paths()
    files = {name: beside.get(model) or known.get(model[0]) for name, model in models.items()}
    return {name: cards.read(file) for name, file in files.items() if file}


def _loaded(models: Mapping[str, tuple[str, str]], out: Path) -> dict[str, LoadReport]:
    found = {name: store.read_loaded(out, *model) for name, model in models.items()}
    return {name: report for name, report in found.items() if report}


def _files(board: Board, results: Mapping[Setting, Mapping[RowKey, Result]]) -> Files:
    tasks = list(dict.fromkeys(setting.task for setting in board.settings))
    rows = list(dict.fromkeys(row for of_rows in results.values() for row in of_rows))
    of_rows = file_names("\n".join(row) for row in rows)
    of_settings = file_names(map(str, board.settings))
    clips = {
        task: sorted(
            {
                name
                for setting, found in results.items()
                if setting.task == task
                for name in _clip_names(found.values())
            }
        )
        for task in tasks
    }
    return Files(
        settings={setting: of_settings[str(setting)] for setting in board.settings},
        models=file_names(model.name for model in board.models),
        rows={row: of_rows["\n".join(row)] for row in rows},
        tasks=file_names(tasks),
        clips={task: file_names(names) for task, names in clips.items()},
    )


def _clip_names(results: Iterable[Result]) -> set[str]:
    return {name for one in results for name in one.clips}


def clip_order(site: Contents, setting: Setting) -> list[str]:
    """The clips of a setting, from the one with the worst mean over the rows; those without any score last."""
    results = site.results[setting].values()
    sign = catalogue.find(site.board.metrics[setting][0]).direction or 1
    means = {}
    for name in _clip_names(results):
        values = [one.values[name] for one in results if not math.isnan(one.values.get(name, math.nan))]
        means[name] = sign * sum(values) / len(values) if values else math.inf
    return sorted(means, key=lambda name: (means[name], name))
