"""What is asked for, as a list of independent units of work."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unibench import protocols, tasks
from unibench.cards import Card
from unibench.errors import DataError, UnknownNameError
from unibench.tasks import Task


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

    Args:
        models: Cards.
        asked: Tasks; one that is asked for twice under the same protocol is run once.
        data: Folder that holds the benchmarks' folders.
        layers: Layers of every model that are scored; empty: the default of each card.
        frames: Only the first so many frames of each clip; None: all.

    Raises:
        UnknownNameError: A model has no such layer.
        DataError: A benchmark is not there, or holds no clip.
    """
    clips: list[tuple[Task, Path, str]] = []
    for task in {(task.name, protocols.label(task.protocol)): task for task in asked}.values():
        root = tasks.folder(task, data)
        names = task.benchmark.names(root)
        if not names:
            raise DataError(f"{root}: no clips for {task.name}, expected some; {task.benchmark.obtain}")
        clips += [(task, root, name) for name in names]
    return [
        Unit(card, _layers(card, layers), task, root, name, frames)
        for card in models
        for task, root, name in clips
    ]


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
    for layer in asked:
        if layer not in card.layers:
            raise UnknownNameError(f"layer of model {card.name!r}", layer, card.layers)
    return tuple(dict.fromkeys(asked)) or (card.default_layer,)
