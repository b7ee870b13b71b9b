"""Shards of a plan: one machine computes one of them; the results of all, gathered in one folder, are merged.

Nothing is agreed upon while machines work: a shard follows from the plan alone, and what one does twice by mistake has
the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from unibench import models
from unibench.errors import PlanError
from unibench.evaluation import fingerprints, plan_file, pool_clips
from unibench.evaluation.plan_file import Plan, PlannedModel, PlannedTask, PlannedUnit
from unibench.evaluation.run_clip import Done
from unibench.evaluation.units import Unit, by_model
from unibench.models import cards
from unibench.models.cards import Card
from unibench.results import store
from unibench.results.atomic import replace_file
from unibench.results.store import UnitKey
from unibench.tasks import protocols, registry
from unibench.tasks.family import Task

NAME = "plan.json"
"""The plan's own copy in a folder of results."""


def shard(plan: Plan, index: int, count: int) -> list[PlannedUnit]:
    """Choose one of the shards that a plan is cut into: about the same cost each, the same for everybody.

    Units are laid end to end, model by model, and cut into equal lengths, so a shard is within one unit of its fair
    share and at most `count` - 1 models are spread over shards.

    Args:
        plan: The whole.
        index: Which one, 1 to `count`.
        count: Number of shards; all of them together hold every unit once.
    """
    ends = list(accumulate(unit.cost for unit in plan.units))
    width = ends[-1] / count or 1.0
    middles = (end - unit.cost / 2 for end, unit in zip(ends, plan.units, strict=True))
    return [
        unit for middle, unit in zip(middles, plan.units, strict=True) if int(middle / width) == index - 1
    ]


def find_units(
    plan: Plan, planned: Sequence[PlannedUnit], data: Path | None, weights_path: Path | None
) -> list[Unit]:
    """Find what a part of a plan needs on this machine, and check that it is what the plan was made with.

    Args:
        plan: The whole.
        planned: The part.
        data: Folder with the benchmarks' folders.
        weights_path: A weights file, or the folder that holds them.

    Raises:
        PlanError: A card, its weights, a protocol, a scoring or the clips are others than those of the plan.
        UnibenchError: A card, weights or data are not here.
    """
    units = _bind(plan, planned, lambda task: registry.folder(task, data))
    for group in by_model(units):
        here = models.open(group[0].card, weights_path).fingerprint
        if here != group[0].fingerprint:
            raise PlanError(
                f"model {group[0].card.name!r}: card or weights with the hash {here}, expected "
                f"{group[0].fingerprint} as in the plan; use the card and the weights that the plan was made with, or "
                "make another plan"
            )
    for unit in units:
        if unit.clip not in unit.task.benchmark.names(unit.root):
            raise PlanError(
                f"{unit.task.name}: no clip {unit.clip!r}, expected as in the plan; complete the data"
            )
    return units


def _bind(plan: Plan, planned: Sequence[PlannedUnit], root: Callable[[Task], Path]) -> list[Unit]:
    chosen = {
        number: _find_card(plan, plan.models[number])
        for number in dict.fromkeys(unit.model for unit in planned)
    }
    tasks = {
        number: _find_task(plan.tasks[number]) for number in dict.fromkeys(unit.task for unit in planned)
    }
    roots = {number: root(task) for number, task in tasks.items()}
    return [
        Unit(
            chosen[unit.model],
            plan.models[unit.model].hash,
            tuple(unit.results),
            tasks[unit.task],
            roots[unit.task],
            unit.clip,
            plan.frames,
        )
        for unit in planned
    ]


def _find_card(plan: Plan, model: PlannedModel) -> Card:
    return cards.running(cards.find(model.card or model.name), plan.dtype or None, compiled=plan.compiled)


def _find_task(planned: PlannedTask) -> Task:
    task = registry.find(f"{planned.name}@{planned.protocol}", planned.detections or None, planned.windowing)
    here = {
        "protocol with the hash": (protocols.fingerprint(task.protocol), planned.hash),
        "scoring of the version": (task.family.scoring.version, planned.scoring),
    }
    for what, (found, expected) in here.items():
        if found != expected:
            raise PlanError(
                f"task {planned.name}@{planned.protocol}: {what} {found}, expected {expected} as in the plan; use the "
                "same unibench and detections, or make another plan"
            )
    return task


def keep(plan: Plan, out: Path) -> None:
    """Put a plan into the folder of its results, where `merge` looks for it.

    Raises:
        PlanError: The folder holds another plan.
    """
    path, data = out / NAME, plan_file.dump(plan)
    if not path.exists():
        replace_file(path, data)
    elif plan_file.dump(plan_file.read(path)) != data:
        raise PlanError(
            f"{path}: another plan, expected none or the same; choose another folder or delete that file"
        )


def check_truth(
    results: Iterable[Done], planned: Sequence[PlannedUnit], units: Sequence[Unit], out: Path
) -> Iterator[Done]:
    """Compare what was computed with the plan: a unit whose truth was another one fails.

    Args:
        results: Of the units, in any order.
        planned: The units as planned.
        units: The same, in the same order, as found on this machine.
        out: Root folder of the results.
    """
    wanted = _wanted(planned, units)
    for one in results:
        keys = [fingerprints.unit_key(one.unit, layer) for layer in one.unit.layers]
        if one.error or all(_is_there(out, key, wanted[key], one.unit.task) for key in keys):
            yield one
        else:
            yield replace(
                one, error="the clip's truth is not that of the plan; use the data it was made with"
            )


def find_costed(plan: Plan, planned: Sequence[PlannedUnit], units: Sequence[Unit]) -> set[UnitKey]:
    """Find the units of a shard that costs are measured on: those of each task's first clip, as in a whole run.

    One shard holds that clip, so however a plan is cut, the same is counted, once.

    Args:
        plan: The whole.
        planned: The shard.
        units: The same, in the same order, as found on this machine.

    Returns:
        Their keys, without a layer.
    """
    return {
        fingerprints.unit_key(unit, "")
        for one, unit in zip(planned, units, strict=True)
        if unit.clip == min(plan.tasks[one.task].clips)
    }


def _wanted(planned: Sequence[PlannedUnit], units: Sequence[Unit]) -> dict[UnitKey, str]:
    return {
        fingerprints.unit_key(unit, layer): fingerprint
        for one, unit in zip(planned, units, strict=True)
        for layer, fingerprint in one.results.items()
    }


def _is_there(out: Path, key: UnitKey, fingerprint: str, task: Task) -> bool:
    stored, scoring = store.read_clip(out, key), task.family.scoring.version
    return stored is not None and (stored.fingerprint, stored.scoring) == (fingerprint, scoring)


def merge(plan: Plan, out: Path, provenance: Mapping[str, Any]) -> list[UnitKey]:
    """Pool what is there of a plan's results; needs neither data nor weights.

    Args:
        plan: What is expected.
        out: Root folder of the results, gathered from all machines.
        provenance: Goes into each `run.json`.

    Returns:
        What is missing: not there, or of another plan.
    """
    units = _bind(plan, plan.units, lambda task: Path())
    clips = {number: list(task.clips) for number, task in enumerate(plan.tasks)}
    missing, whole = [], []
    for planned, unit in zip(plan.units, units, strict=True):
        keys = {layer: fingerprints.unit_key(unit, layer) for layer in unit.layers}
        layers = tuple(
            layer for layer, key in keys.items() if _is_there(out, key, planned.results[layer], unit.task)
        )
        missing += [key for layer, key in keys.items() if layer not in layers]
        benchmark = replace(unit.task.benchmark, names=partial(_listed, clips[planned.task]))
        whole.append(replace(unit, layers=layers, task=replace(unit.task, benchmark=benchmark)))
    pool_clips.pool(whole, out, provenance)
    return missing


def _listed(names: list[str], root: Path) -> list[str]:
    return names
