"""A layer, and a scale of the images, chosen on one half of the clips and scored on the other, beside the best on all.

The best of several layers on the very clips it is chosen on is too good: where layers are equally good, it is the
luckiest. Halves are drawn again and again; no clip of the half that is reported takes part in the choice.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unibench.errors import OutputError
from unibench.metrics import catalogue
from unibench.metrics.catalogue import show
from unibench.models.cards import SCALE
from unibench.records import Score, Tally
from unibench.report import stored
from unibench.report.boards import Board, Setting
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks.registry import family_of

if TYPE_CHECKING:
    import rich.table

SPLITS = 100
"""Into halves; each half chooses once and is reported once."""
FEWEST = 4
"""Clips below which no half says anything."""


@dataclass(frozen=True)
class Selection:
    """What choosing a layer gives; values are in the unit of the metric."""

    value: float
    """Mean over splits of the score on the half that took no part in the choice."""
    low: float
    """Of the splits, 2.5 % lie below; this is no interval over clips."""
    high: float
    best: str
    """The layer with the best score on all clips."""
    best_value: float
    """Its score there: optimistic."""
    chosen: Mapping[str, float]
    """Layer -> share of the halves that chose it, the most frequent first."""
    clips: int


def choose(
    layers: Mapping[str, Sequence[Tally]], value: Callable[[Sequence[Tally]], float], sign: int, *,
    splits: int = SPLITS, seed: int = 0,
) -> Selection:  # fmt: skip
    """Choose among layers on halves of the clips, and score the choice on the other halves.

    Args:
        layers: Layer -> what each clip adds, the same clips in the same order for all.
        value: Tallies of some clips -> their score.
        sign: 1 where high is good, -1 where low is.
        splits: Into two halves; each is chosen on and reported once.
        seed: Of the halves.

    Raises:
        ValueError: Fewer than two layers, or fewer than `FEWEST` clips.
    """
    count = len(next(iter(layers.values()), ()))
    if len(layers) < 2 or count < FEWEST:
        raise ValueError(f"{len(layers)} layers on {count} clips, expected 2 on {FEWEST} or more")
    draw = np.random.default_rng(seed)

    def of(layer: str, rows: Sequence[int]) -> float:
        return value([layers[layer][row] for row in rows])

    def best(rows: Sequence[int]) -> str:
        found = {layer: of(layer, rows) for layer in layers}
        return max(found, key=lambda layer: -math.inf if math.isnan(found[layer]) else sign * found[layer])

    reported, chosen = [], Counter[str]()
    for _ in range(splits):
        order = draw.permutation(count).tolist()
        halves = order[: count // 2], order[count // 2 :]
        for half, other in (halves, halves[::-1]):
            layer = best(half)
            chosen[layer] += 1
            reported.append(of(layer, other))
    low, high = np.nanpercentile(reported, [2.5, 97.5])
    everything = range(count)
    top = best(everything)
    return Selection(
        float(np.nanmean(reported)), float(low), float(high), top, of(top, everything),
        {layer: times / (2 * splits) for layer, times in chosen.most_common()}, count,
    )  # fmt: skip


def compute(
    board: Board, out: Path, *, splits: int = SPLITS, seed: int = 0
) -> dict[tuple[str, Setting], Selection]:
    """Choose among the layers of every model, and the scales that it was run at, on every task.

    Args:
        board: The table.
        out: Root folder of the results, where the clips lie.
        splits: Into halves.
        seed: Of the halves.

    Returns:
        Model and setting -> what choosing gives; those with several layers or scales, and enough clips that all have.

    Raises:
        OutputError: There are none.
    """
    found = {}
    for name, rows in _candidates(board).items():
        for setting in board.settings:
            metric = board.metrics[setting][0]
            scores = {
                label: score for label, (model, layer) in rows.items()
                if (score := board.scores.get((model, layer, setting, metric))) is not None
            }  # fmt: skip
            tallies = _tallies(scores, out) if len(scores) > 1 and catalogue.find(metric).direction else {}
            if tallies and len(next(iter(tallies.values()))) >= FEWEST:
                found[name, setting] = choose(
                    tallies,
                    _pooled(setting, metric),
                    catalogue.find(metric).direction,
                    splits=splits,
                    seed=seed,
                )
    if not found:
        raise OutputError(f"{out}: no model with several layers or scales on {FEWEST} clips or more; score some: "
                          "unibench run --layers all --scales 0.5,1,2 ...")  # fmt: skip
    return found


def _candidates(board: Board) -> dict[str, dict[str, tuple[str, str]]]:
    """Name of a model -> what it can be run with -> the row: its layers, at each scale of the images."""
    models = {
        key[0]: (score.model, *_without_scale(score.weights_hash)) for key, score in board.scores.items()
    }
    rows: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for row in board.models:
        name, own, scale = models[row.name]
        rows.setdefault((name, own), []).extend((row.name, layer, scale) for layer in board.layers[row.name])
    several = Counter(name for name, _ in rows)
    return {
        name if several[name] == 1 else f"{name} {own[:8]}": {
            f"{layer} x{scale}" if scale else layer: (model, layer) for model, layer, scale in of_model
        }
        for (name, own), of_model in rows.items()
    }


def _without_scale(fingerprint: str) -> tuple[str, str]:
    """A model's hash without the scale of its images, and that scale; empty: images are as they are."""
    found = re.search(rf"{re.escape(SCALE)}([0-9.]+)", fingerprint)
    return (fingerprint.replace(found[0], ""), found[1]) if found else (fingerprint, "")


def _pooled(setting: Setting, metric: str) -> Callable[[Sequence[Tally]], float]:
    pool = family_of(setting.task).scoring.pool
    return lambda some: float(pool(some)[metric])


def _tallies(scores: Mapping[str, Score], out: Path) -> dict[str, list[Tally]]:
    """What each clip adds that all layers have, in one order."""
    clips = {layer: stored.clips(out, score) for layer, score in scores.items()}
    shared = sorted(set.intersection(*(set(one) for one in clips.values())))
    return {layer: [of_layer[name].tally for name in shared] for layer, of_layer in clips.items()}


def table(board: Board, found: Mapping[tuple[str, Setting], Selection]) -> "rich.table.Table":
    """Lay out what choosing gives beside the best on test."""
    from rich.table import Table  # only a terminal needs it
    from rich.text import Text

    caption = (
        "selected: chosen on one half of the clips, scored on the other, mean over splits; in brackets what 95 % of "
        "the splits gave.\nbest on test: chosen and scored on the same clips, too good by the luck of the choice."
    )
    laid = Table(caption=Text(caption), caption_justify="left")
    for name in ("model", "task", "metric", "clips", "selected", "best on test", "chosen"):
        laid.add_column(name, overflow="fold", justify="right" if name in ("clips", "selected") else "left")
    for (model, setting), one in found.items():
        metric = board.metrics[setting][0]
        spread = f"{show(metric, one.value)} [{show(metric, one.low)}, {show(metric, one.high)}]"
        shares = ", ".join(f"{layer} {share:.0%}" for layer, share in one.chosen.items())
        best = f"{show(metric, one.best_value)} ({one.best})"
        laid.add_row(
            *(Text(cell) for cell in (model, str(setting), metric, str(one.clips), spread, best, shares))
        )
    return laid


def write(board: Board, found: Mapping[tuple[str, Setting], Selection], out: Path) -> Path:
    """Write `select.csv`.

    Raises:
        OutputError: It cannot be written.
    """
    rows: list[list[object]] = [["model", "task", "metric", "clips", "selected", "selected 2.5 %", "selected 97.5 %",
                                 "best on test", "best layer", "chosen"]]  # fmt: skip
    for (model, setting), one in found.items():
        shares = "; ".join(f"{layer} {share:.3f}" for layer, share in one.chosen.items())
        numbers = (one.value, one.low, one.high, one.best_value, one.best)
        rows.append([model, setting, board.metrics[setting][0], one.clips, *numbers, shares])
    return replace_file(Path(out, "select.csv"), csv_bytes(rows))
