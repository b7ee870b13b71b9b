"""What is asked for, as a list of independent units of work."""

import logging
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from unibench.errors import DataError, PlanError, UnknownNameError
from unibench.models.cards import JOINT, Card
from unibench.tasks import protocols, registry
from unibench.tasks.registry import Task


@dataclass(frozen=True)
class Unit:
    """One model on one clip of one task; all layers share its backbone passes."""

    card: Card
    layers: tuple[str, ...]
    task: Task
    root: Path
    """The benchmark's own folder."""
    clip: str
    frames: int | None
    """Only the first so many frames; None: all."""


def units(
    models: Sequence[Card],
    asked: Sequence[Task],
    data: Path | None,
    *,
    layers: Sequence[str] = (),
    frames: int | None = None,
) -> list[Unit]:
    """List the units of a run: model by model, so that each is loaded once.

    A task that a model cannot do is left out, and the log says why.

    Args:
        models: Cards.
        asked: Tasks; one that is asked for twice under the same protocol is run once. A joint tracker does those that
            were asked for without a protocol under its own default.
        data: Folder that holds the benchmarks' folders.
        layers: Layers of every model that are scored; empty: the default of each card.
        frames: Only the first so many frames of each clip; None: all.

    Raises:
        UnknownNameError: A model has no such layer.
        DataError: A benchmark is not there, or holds no clip.
        PlanError: Models are asked for, and none can do any of the tasks.
    """

    @cache
    def clips(name: str) -> list[tuple[Path, str]]:
        return _clips(next(task for task in asked if task.name == name), data)

    pairs = [(card, task) for card in models for task in suited(card, asked)]
    if models and asked and not pairs:
        raise PlanError(
            f"nothing to run: none of {len(models)} models can do any of {len(asked)} tasks; see: unibench tasks"
        )
    return [
        Unit(card, _layers(card, layers), task, root, clip, frames)
        for card, task in pairs
        for root, clip in clips(task.name)
    ]


def suited(card: Card, asked: Sequence[Task]) -> list[Task]:
    """Choose the tasks that a model can do, each protocol once; the log says which are left out, and why."""
    chosen: dict[tuple[str, str], Task] = {}
    for task in (registry.suit(task, card) for task in asked):
        label = protocols.label(task.protocol)
        if reason := registry.why_not(task, card):
            logging.getLogger(__name__).warning("left out: %s %s@%s: %s", card.name, task.name, label, reason)
        else:
            chosen[task.name, label] = task
    return list(chosen.values())


def _clips(task: Task, data: Path | None) -> list[tuple[Path, str]]:
    root = registry.folder(task, data)
    names = task.benchmark.names(root)
    if not names:
        raise DataError(f"{root}: no clips for {task.name}, expected some; {task.benchmark.obtain}")
    return [(root, name) for name in names]


def together(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units that differ in their protocol and layers only: they can share decoding and passes of the network.

    Args:
        units: All of one model.

    Returns:
        Groups in the order of their first units.
    """
    groups: dict[Hashable, list[Unit]] = {}
    for unit in units:
        given = unit.task.protocol.detections
        groups.setdefault((unit.task.benchmark, given, unit.root, unit.clip, unit.frames), []).append(unit)
    return list(groups.values())


def _layers(card: Card, asked: Sequence[str]) -> tuple[str, ...]:
    known = (JOINT,) if card.kind == "joint" else card.layers
    for layer in asked:
        if layer not in known:
            raise UnknownNameError(f"layer of model {card.name!r}", layer, known)
    return tuple(dict.fromkeys(asked)) or (card.default_layer,)
