"""What all reports share: scores arranged as one comparable table, and its order."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.models.cards import JOINT
from unibench.records import Score
from unibench.report import shared_clips
from unibench.report.comparable import RERUN, RowNames, check_column, check_protocols, row_names
from unibench.report.shared_clips import SharedClips
from unibench.tasks.registry import FAMILIES

PUBLISHED = "published"
"""Takes the place of every hash in a score that a paper printed."""
TRAINED = "trained for tracking"
"""Group of the joint trackers, which boards set apart from frozen models."""
OTHER_RUN = "another run"
"""Group of models that stand among published numbers and were run by the user, on the clips and detections at hand."""
SIGN = "†"
"""Follows their labels."""
SIGN_NOTE = f"{SIGN} {TRAINED}; the other models are frozen, under training-free heads."


@dataclass(frozen=True)
class BoardModel:
    """What a report must know of a model beyond its scores."""

    name: str
    """Unique on a board: two models of one name have the hashes of their weights behind it."""
    imagenet_top1: float | None
    """ImageNet linear-probe (or supervised) accuracy as a fraction, 0 to 1; None where it is not known."""
    label: str
    """How figures and the terminal call it."""
    supervised_reference: bool
    """Drawn dashed and grey, behind the others."""
    group: str
    """Kind of model (`image`, `pixel`, `video`, ...): one colour where colours must be few."""
    overlap: tuple[str, ...] = ()
    """Benchmarks whose clips it was trained on, as its card says."""


@dataclass(frozen=True)
class Setting:
    """One task under one protocol with one kind of detections: what may share a column."""

    task: str
    protocol: str
    detections: str

    def __str__(self) -> str:
        return f"{self.task}@{self.protocol}"


@dataclass(frozen=True, eq=False)
class Board:
    """Scores in order: models as they are given, layers by name, settings by task."""

    models: tuple[BoardModel, ...]
    """Those that have a score; joint trackers last, with `SIGN` behind their labels."""
    layers: Mapping[str, tuple[str, ...]]
    """Name of the model, as `models` has it -> its layers."""
    settings: tuple[Setting, ...]
    metrics: Mapping[Setting, tuple[str, ...]]
    """Setting -> its metrics, the headline first."""
    partial: frozenset[Setting]
    """Settings of which only a part was run."""
    scores: Mapping[tuple[str, str, Setting, str], Score]
    """Name of the model, layer, setting, metric -> score; what was not run is not there."""
    published: bool
    """Papers printed these numbers; nothing was measured here."""
    shared: Mapping[Setting, SharedClips]
    """Settings whose rows were scored on other clips -> those that all have, of which their scores are."""

    def value(self, model: str, layer: str, setting: Setting, metric: str) -> float | None:
        """The value of one cell, in the unit of its metric; None where it was not run."""
        score = self.scores.get((model, layer, setting, metric))
        return score.value if score else None


def arrange(scores: Sequence[Score], models: Sequence[BoardModel] = (), out: Path | None = None) -> Board:
    """Arrange scores as one table, and refuse those that must not be compared.

    Args:
        scores: Any number of models, layers and settings; at least one.
        models: What is known of them, in the order of the rows; any other comes last, under its own name.
        out: Root folder of the results: there are the clips, where the rows of a column were not scored on the same
            ones, and there an error finds in which knobs protocols differ; None: both are errors.

    Returns:
        The table. Where rows of a column lack clips that others have, all its scores are of those that all share.

    Raises:
        OutputError: No scores; published scores among measured ones; two scores for one cell; or scores of one column
            that differ in protocol hash, or in data hash, clips or frames where these are not stored or not shared.
        UnibenchError: A metric is not in the catalogue.
    """
    if not scores:
        raise OutputError("report: no scores, expected at least one; run `unibench run` first")
    _check_origin(scores)
    names = row_names(scores)
    columns: dict[Setting, list[Score]] = {}
    for score in scores:
        catalogue.find(score.metric)
        columns.setdefault(setting_of(score), []).append(score)
    shared: dict[Setting, SharedClips] = {}
    for setting, rows in columns.items():
        check_protocols(str(setting), rows, names, out)
        if out is not None and shared_clips.differ(rows):
            columns[setting], found = shared_clips.pool(str(setting), rows, names, out)
            shared |= {setting: found} if found else {}
        check_column(str(setting), columns[setting], names)
    cells = {
        (names[row.model, row.weights_hash], row.layer, setting, row.metric): row
        for setting, rows in columns.items()
        for row in rows
    }
    ordered = _order_models(scores, models, names)
    return Board(
        models=ordered,
        layers={model.name: _layers(cells, model.name) for model in ordered},
        settings=tuple(sorted(columns, key=_setting_order)),
        metrics={setting: _metrics(setting, rows) for setting, rows in columns.items()},
        partial=frozenset(setting for setting, rows in columns.items() if rows[0].partial),
        scores=cells,
        published=scores[0].data_hash == PUBLISHED,
        shared=shared,
    )


def setting_of(score: Score) -> Setting:
    """The column of a score."""
    return Setting(score.task, score.protocol, score.detections)


def trained(board: Board, model: str) -> bool:
    """Whether a model is a joint tracker, as the name of its one layer says."""
    return JOINT in board.layers[model]


def was_trained_on(model: BoardModel, setting: Setting) -> bool:
    """Whether a model was trained on clips of a column's benchmark, as its card says."""
    return setting.task.partition(":")[0] in model.overlap


def published_note(board: Board) -> str:
    """Say where the numbers of a board of published ones come from, without the full stop; empty: it is none."""
    if not board.published:
        return ""
    if any(model.group == OTHER_RUN for model in board.models):
        return (
            f"({OTHER_RUN}): ours, with other code, clips and detections. All other numbers are as published"
        )
    return "All numbers as published: nothing was measured here"


def best_layer(board: Board, model: str, setting: Setting) -> str | None:
    """Find the layer with the best headline score; the paper's tables and figures compare these.

    Args:
        board: The table.
        model: Name of the model.
        setting: The column.

    Returns:
        Its name (the first of equals); None where the model was not run there.
    """
    headline = board.metrics[setting][0]
    values = {layer: board.value(model, layer, setting, headline) for layer in board.layers[model]}
    found = {layer: value for layer, value in values.items() if value is not None}
    if not found:
        return None
    sign = catalogue.find(headline).direction
    return max(found, key=lambda layer: -math.inf if math.isnan(found[layer]) else sign * found[layer])


def headlines(board: Board) -> Float[np.ndarray, "model setting"]:
    """The headline score of every model's better layer.

    Args:
        board: The table.

    Returns:
        Fractions or counts; NaN where a model was not run or the metric is not defined.
    """
    table = np.full((len(board.models), len(board.settings)), np.nan)
    for row, model in enumerate(board.models):
        for column, setting in enumerate(board.settings):
            if (layer := best_layer(board, model.name, setting)) is not None:
                table[row, column] = board.scores[model.name, layer, setting, board.metrics[setting][0]].value
    return table


def ranks(board: Board) -> Float[np.ndarray, "model setting"]:
    """Rank the models on the headline of every setting, each with its better layer.

    Args:
        board: The table.

    Returns:
        1 is best, equal scores share the better rank; NaN where a model has no score, or the headline no good side.
    """
    signs = [
        float(catalogue.find(board.metrics[setting][0]).direction) or math.nan for setting in board.settings
    ]
    values = headlines(board) * signs
    better = (values[None] > values[:, None]).sum(axis=1)
    return np.where(np.isnan(values), np.nan, 1.0 + better)


def best_value(metric: str, values: Iterable[float]) -> float | None:
    """Find the best of some values of one metric.

    Args:
        metric: Its name; tells whether high or low is good.
        values: Fractions or counts.

    Returns:
        The best; None where nothing is defined or the metric has no good side.
    """
    defined = [value for value in values if not math.isnan(value)]
    sign = catalogue.find(metric).direction
    return max(defined, key=lambda value: sign * value) if defined and sign else None


def titles(board: Board) -> list[str]:
    """Name every setting as shortly as tells it from the others.

    Args:
        board: The table.

    Returns:
        One per setting, on several lines: task; benchmark and protocol where several differ in them;
        detections; headline metric; `(partial)` if so.
    """
    lines = []
    for setting in board.settings:
        family, *details, detections = _parts(setting)
        twins = [_parts(other)[1:3] for other in board.settings if _parts(other)[0] == family]
        telling = [detail for detail, *others in zip(details, *twins, strict=True) if len(set(others)) > 1]
        headline = board.metrics[setting][0]
        partial = ["(partial)"] if setting in board.partial else []
        lines.append(
            "\n".join(dict.fromkeys(filter(None, [family, *telling, detections, headline, *partial])))
        )
    return lines


def _check_origin(scores: Sequence[Score]) -> None:
    published = sum(score.data_hash == PUBLISHED for score in scores)
    if 0 < published < len(scores):
        raise OutputError(
            f"report: {published} of {len(scores)} scores are published ones, expected all or none; "
            "papers' numbers are shown beside a board, never in it"
        )


def _metrics(setting: Setting, rows: Sequence[Score]) -> tuple[str, ...]:
    headline = list(dict.fromkeys(row.metric for row in rows if row.headline))
    if len(headline) != 1:
        raise OutputError(f"{setting}: headline metrics are {headline}, expected one; {RERUN}")
    return tuple(dict.fromkeys([*headline, *(row.metric for row in rows)]))


def _order_models(
    scores: Sequence[Score], models: Sequence[BoardModel], names: RowNames
) -> tuple[BoardModel, ...]:
    known = {model.name: model for model in models}
    order = list(known)
    rows = []
    for (model, _), name in sorted(names.items(), key=lambda item: item[1]):
        one = known.get(model, BoardModel(model, None, model, False, ""))
        rows.append((model, replace(one, name=name, label=one.label + name.removeprefix(model))))
    rows.sort(key=lambda row: order.index(row[0]) if row[0] in known else len(order))
    joint = {names[score.model, score.weights_hash] for score in scores if score.layer == JOINT}
    signed = [replace(one, label=one.label + SIGN, group=TRAINED) for _, one in rows if one.name in joint]
    return (*(one for _, one in rows if one.name not in joint), *signed)


def _layers(cells: Iterable[tuple[str, str, Setting, str]], name: str) -> tuple[str, ...]:
    return tuple(sorted({layer for model, layer, *_ in cells if model == name}, key=_natural))


def _setting_order(setting: Setting) -> tuple[int, str, str, str]:
    family = setting.task.partition("/")[0]
    place = list(FAMILIES).index(family) if family in FAMILIES else len(FAMILIES)
    return place, setting.task, setting.protocol, setting.detections


def _parts(setting: Setting) -> tuple[str, str, str, str]:
    family, _, benchmark = setting.task.partition("/")
    protocol = setting.protocol.removesuffix(f"+{setting.detections}")
    return FAMILIES[family].title if family in FAMILIES else family, benchmark, protocol, setting.detections


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders `blocks.9` before `blocks.11`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
