"""What all reports share: scores arranged as one comparable table, its order, and how values are printed."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unibench.errors import OutputError
from unibench.models.cards import JOINT
from unibench.records import Score
from unibench.report.comparable import RERUN, check_column, check_weights
from unibench.tasks.registry import FAMILIES

_COUNTS = frozenset({"IDSW", "IDs", "FP", "FN", "TP", "MT", "PT", "ML", "Frag"})
_LOWER_IS_BETTER = frozenset({"IDSW", "IDs", "FP", "FN", "ML", "Frag", "J-decay", "F-decay"})
_NEITHER_IS_BETTER = frozenset({"PT"})
PUBLISHED = "published"
"""Stands in the place of every hash of a number that a paper printed."""
TRAINED = "trained for tracking"
"""Group of the joint trackers, which boards set apart from frozen models."""
SIGN = "†"
"""Stands behind their labels."""
SIGN_NOTE = f"{SIGN} {TRAINED}; the other models are frozen, under training-free heads."


def is_count(metric: str) -> bool:
    """Whether a metric is a number of things; every other metric is a fraction."""
    return _plain(metric) in _COUNTS


def direction(metric: str) -> int:
    """1: higher is better; -1: lower is better; 0: neither."""
    name = _plain(metric)
    return 0 if name in _NEITHER_IS_BETTER else -1 if name in _LOWER_IS_BETTER else 1


def _plain(metric: str) -> str:
    """Without the scorer that computed it: `motmetrics:IDSW` is an IDSW."""
    return metric.rpartition(":")[2]


@dataclass(frozen=True)
class ModelFacts:
    """What a report must know of a model beyond its scores."""

    name: str
    imagenet_top1: float | None
    """ImageNet linear-probe (or supervised) accuracy as a fraction, 0 to 1; None where it is not known."""
    label: str
    """How figures and the terminal call it."""
    supervised_reference: bool
    """Drawn dashed and grey, behind the others."""
    group: str
    """Kind of model (`image`, `pixel`, `video`, ...): one colour where colours must be few."""


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
    """Scores in order: models by the facts given, layers by name, settings by task."""

    models: tuple[ModelFacts, ...]
    """Those that have a score; joint trackers last, with `SIGN` behind their labels."""
    layers: Mapping[str, tuple[str, ...]]
    """Model -> its layers."""
    settings: tuple[Setting, ...]
    metrics: Mapping[Setting, tuple[str, ...]]
    """Setting -> its metrics, the headline first."""
    partial: frozenset[Setting]
    """Settings of which only a part was run."""
    values: Mapping[tuple[str, str, Setting, str], float]
    """Model, layer, setting, metric -> fraction or count; what was not run is not there."""
    published: bool
    """Papers printed these numbers; nothing was measured here."""


def arrange(scores: Sequence[Score], facts: Sequence[ModelFacts], out: Path | None = None) -> Board:
    """Arrange scores as one table, and refuse those that must not be compared.

    Args:
        scores: Any number of models, layers and settings; at least one.
        facts: In the order in which models shall stand; a model without facts comes last under its own name.
        out: Root folder of the results: there an error finds in which knobs protocols differ; None: it names hashes.

    Returns:
        The table.

    Raises:
        OutputError: No scores; published scores among measured ones; two scores for one cell; scores of one column
            that differ in protocol hash, data hash, clips or frames; or a model with two sets of weights.
    """
    if not scores:
        raise OutputError("report: no scores, expected at least one; run `unibench run` first")
    _check_origin(scores)
    check_weights(scores)
    columns: dict[Setting, list[Score]] = {}
    for score in scores:
        columns.setdefault(Setting(score.task, score.protocol, score.detections), []).append(score)
    for setting, rows in columns.items():
        check_column(str(setting), rows, out)
    return Board(
        models=_order_models(scores, facts),
        layers={model: _layers(scores, model) for model in {score.model for score in scores}},
        settings=tuple(sorted(columns, key=_setting_order)),
        metrics={setting: _metrics(setting, rows) for setting, rows in columns.items()},
        partial=frozenset(setting for setting, rows in columns.items() if rows[0].partial),
        values={
            (row.model, row.layer, setting, row.metric): row.value
            for setting, rows in columns.items()
            for row in rows
        },
        published=scores[0].data_hash == PUBLISHED,
    )


def trained(board: Board, model: str) -> bool:
    """Whether a model is a joint tracker, as the name of its one layer says."""
    return JOINT in board.layers[model]


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
    found = {
        layer: board.values[model, layer, setting, headline]
        for layer in board.layers[model]
        if (model, layer, setting, headline) in board.values
    }
    if not found:
        return None
    sign = direction(headline)
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
                table[row, column] = board.values[model.name, layer, setting, board.metrics[setting][0]]
    return table


def best_value(metric: str, values: Iterable[float]) -> float | None:
    """Find the best of some values of one metric.

    Args:
        metric: Its name; tells whether high or low is good.
        values: Fractions or counts.

    Returns:
        The best; None where nothing is defined or the metric has no good side.
    """
    defined = [value for value in values if not math.isnan(value)]
    if not defined or not direction(metric):
        return None
    return max(defined) if direction(metric) > 0 else min(defined)


def show(metric: str, value: float | None) -> str:
    """Print a value as boards do.

    Args:
        metric: Its name.
        value: Fraction or count.

    Returns:
        A fraction times 100 with two decimals, a count as an integer, nothing where it is not defined.
    """
    if value is None or math.isnan(value):
        return ""
    if is_count(metric):
        return f"{value:.0f}"
    return f"{round(100 * value, 2) + 0.0:.2f}"  # + 0.0 turns -0.0 into 0.0


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
            "papers' numbers stand beside a board, never in it"
        )


def _metrics(setting: Setting, rows: Sequence[Score]) -> tuple[str, ...]:
    headline = list(dict.fromkeys(row.metric for row in rows if row.headline))
    if len(headline) != 1:
        raise OutputError(f"{setting}: headline metrics are {headline}, expected one; {RERUN}")
    return tuple(dict.fromkeys([*headline, *(row.metric for row in rows)]))


def _order_models(scores: Sequence[Score], facts: Sequence[ModelFacts]) -> tuple[ModelFacts, ...]:
    names = {score.model for score in scores}
    known = {fact.name: fact for fact in facts if fact.name in names}
    unknown = [ModelFacts(name, None, name, False, "") for name in sorted(names - known.keys())]
    ordered = [*known.values(), *unknown]
    joint = {score.model for score in scores if score.layer == JOINT}
    signed = [replace(one, label=one.label + SIGN, group=TRAINED) for one in ordered if one.name in joint]
    return (*(one for one in ordered if one.name not in joint), *signed)


def _layers(scores: Sequence[Score], model: str) -> tuple[str, ...]:
    return tuple(sorted({score.layer for score in scores if score.model == model}, key=_natural))


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
