"""What is asked for, as a list of independent units of work."""

import logging
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from unibench import models
from unibench.errors import DataError, PlanError, UnknownNameError
from unibench.models.cards import Card
from unibench.records import Model
from unibench.tasks import protocols, registry
from unibench.tasks.family import Task

if TYPE_CHECKING:
    from unibench.features.cache import FeatureCache


@dataclass(frozen=True)
class Unit:
    """One model on one clip of one task; all layers share its backbone passes."""

    card: Card
    fingerprint: str
    """Of the model: its card and its weights."""
    layers: tuple[str, ...]
    task: Task
    root: Path
    """The benchmark's own folder."""
    clip: str
    frames: int | None
    """Only the first so many frames; None: all."""

    @property
    def model(self) -> tuple[str, str]:
        """What tells its model from every other: name and fingerprint."""
        return self.card.name, self.fingerprint


def list_units(
    cards: Sequence[Card],
    asked: Sequence[Task],
    data: Path | None,
    *,
    weights_path: Path | None = None,
    layers: Sequence[str] = (),
    frames: int | None = None,
    features: "FeatureCache | None" = None,
) -> list[Unit]:
    """List the units of a run: model by model, so that each is loaded once.

    A task that a model cannot do is left out, and the log says why.

    Args:
        cards: Models; two may have the same name.
        asked: Tasks; one that is asked for twice under the same protocol is run once. A task without a protocol is run
            under the first that the model can run.
        data: Folder that holds the benchmarks' folders.
        weights_path: A weights file, or the folder that holds them.
        layers: Layers of every model that are scored; empty: the default of each card; `all`: all of each.
        frames: Only the first so many frames of each clip; None: all.
        features: Where feature maps are kept; what is rounded there has another fingerprint.

    Raises:
        UnknownNameError: A model has no such layer.
        DataError: A benchmark is not there, or holds no clip.
        WeightsError: The weights of a model that has something to do are missing, or have another sha256.
        PlanError: Models are asked for, and none can do any of the tasks.
    """

    @cache
    def clips(name: str) -> list[tuple[Path, str]]:
        return _clips(next(task for task in asked if task.name == name), data)

    chosen = []
    for card in cards:
        model = models.open(card, weights_path, features=features)
        if supported := supported_tasks(model, asked):
            chosen.append((card, model, supported, _layers(model, layers)))
    if cards and asked and not chosen:
        raise PlanError(
            f"nothing to run: none of {len(cards)} models can do any of {len(asked)} tasks; see: unibench tasks"
        )
    for _, _, supported, _ in chosen:  # what is wrong with the data is said before weights are read
        for task in supported:
            clips(task.name)
    units = [
        Unit(card, model.fingerprint, wanted, task, root, clip, frames)
        for card, model, supported, wanted in chosen
        for task in supported
        for root, clip in clips(task.name)
    ]
    return list(
        {
            (*one.model, one.task.name, protocols.label(one.task.protocol), one.clip): one for one in units
        }.values()
    )


def supported_tasks(model: Model, asked: Sequence[Task]) -> list[Task]:
    """Choose the tasks that a model can do, each protocol once; the log says which are left out, and why."""
    chosen: dict[str, Task] = {}
    for task in (registry.for_model(task, model) for task in asked):
        if reason := model.unsupported_reason(task):
            logging.getLogger(__name__).warning(
                "left out: %s %s: %s", model.name, protocols.title(task), reason
            )
        else:
            chosen[protocols.title(task)] = task
    return list(chosen.values())


def by_model(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Split units that lie model by model."""
    return (list(group) for _, group in groupby(units, key=lambda unit: unit.model))


def share_a_clip(units: Iterable[Unit]) -> list[list[Unit]]:
    """Group units that differ in their protocol and layers only: they can share decoding and passes of the network.

    Args:
        units: All of one model.

    Returns:
        Groups in the order of their first units.
    """
    groups: dict[Hashable, list[Unit]] = {}
    for unit in units:
        key = (
            unit.task.benchmark,
            unit.task.classes,
            unit.task.protocol.detections,
            unit.task.protocol.knobs.get("query_mode"),  # other frames prompt, and other points
            unit.root,
            unit.clip,
            unit.frames,
        )
        groups.setdefault(key, []).append(unit)
    return list(groups.values())


def _clips(task: Task, data: Path | None) -> list[tuple[Path, str]]:
    root = registry.folder(task, data)
    names = task.benchmark.names(root)
    if not names:
        raise DataError(f"{root}: no clips for {task.name}, expected some; {task.benchmark.obtain}")
    return [(root, name) for name in names]


ALL = "all"
"""Asks for every layer of each model."""


def _layers(model: Model, asked: Sequence[str]) -> tuple[str, ...]:
    if tuple(asked) == (ALL,):
        return model.layers
    for layer in asked:
        if layer not in model.layers:
            raise UnknownNameError(f"layer of model {model.name!r}", layer, model.layers)
    return tuple(dict.fromkeys(asked)) or (model.default_layer,)
