"""A sweep as a file: what is to be computed and what must come out, so that many machines can share the work.

`plan.json` is data: it names models, tasks and clips, and holds the hash of every model, protocol and result. It
describes no network and holds no code, so a node builds only what its own cards say, and notices at once where its
cards, weights, data or version are others than those that the plan was made with.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from unibench import schema
from unibench.datasets import SOURCES
from unibench.errors import PlanError
from unibench.evaluation import fingerprints
from unibench.evaluation.units import Unit
from unibench.records import Clip
from unibench.tasks import protocols, registry
from unibench.tasks.registry import Task

FORMAT = "unibench plan 1"
FLOOR = 4_000_000
"""What decoding, head and scoring cost, as parameters of a network: a rough guess, which only balances shards."""


@dataclass(frozen=True)
class PlannedTask:
    """One task, and the clips that its score is made of."""

    name: str
    """Family and benchmark: `vos/davis2016`."""
    protocol: str
    """Name of the preset."""
    hash: str
    """Of the protocol, with what it gives."""
    clips: tuple[str, ...]
    """All clips of the benchmark, in its order."""
    detections: str = ""
    """Source of the given detections; empty: the task gives none."""


@dataclass(frozen=True)
class PlannedUnit:
    """One model on one clip of one task."""

    model: str
    task: int
    """Index into the plan's tasks."""
    clip: str
    cost: float
    """Frames x pixels that the network sees x (its parameters + FLOOR), in 10^15: about the time it takes."""
    results: Mapping[str, str]
    """Layer -> fingerprint that its result has."""


@dataclass(frozen=True)
class Plan:
    """What is to be computed."""

    format: str
    unibench: str
    """Version that made the plan; another one may compute other results."""
    models: Mapping[str, str]
    """Name of each model -> hash of its card and weights."""
    tasks: tuple[PlannedTask, ...]
    units: tuple[PlannedUnit, ...]
    data: str = ""
    """Folder with the benchmarks' folders; a node may have another."""
    weights: str = ""
    """Weights file or folder; a node may have another."""
    frames: int | None = None
    """Only the first so many frames of each clip."""
    dtype: str = ""
    """What networks compute in; empty: what their cards say."""
    compiled: bool = False
    """Whether networks are compiled, whatever their cards say."""


def make(
    units: Sequence[Unit],
    hashes: Mapping[str, str],
    *,
    data: Path | None = None,
    weights: Path | None = None,
    dtype: str | None = None,
    compiled: bool = False,
) -> Plan:
    """Make the plan of a list of units; the truth of every clip is read once.

    Args:
        units: What is asked for; at least one.
        hashes: Model name -> hash (`run.fingerprints`).
        data: Folder with the benchmarks' folders.
        weights: A weights file, or the folder that holds them.
        dtype: What the cards were told to compute in (`cards.running`); None: what they say themselves.
        compiled: Likewise.
    """
    clips: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        clips.setdefault((_label(unit.task), unit.clip), []).append(unit)
    tasked = {_label(unit.task): unit for unit in units}
    places = {label: place for place, label in enumerate(tasked)}
    planned = []
    for (label, _), group in clips.items():
        clip, truth = registry.load_clip(group[0].task, group[0].root, group[0].clip, group[0].frames)
        seen = clip.length * pixels(group[0].task, clip)
        for unit in group:
            model = hashes[unit.card.name]
            results = {
                layer: fingerprints.result_fingerprint(unit, model, layer, truth) for layer in unit.layers
            }
            cost = round(seen * (unit.card.architecture.parameters + FLOOR) / 1e15, 6)
            planned.append(PlannedUnit(unit.card.name, places[label], unit.clip, cost, results))
    return _ordered(
        Plan(
            format=FORMAT,
            unibench=version("unibench-tracking"),
            models={unit.card.name: hashes[unit.card.name] for unit in units},
            tasks=tuple(_planned(unit.task, unit.root) for unit in tasked.values()),
            units=tuple(planned),
            data=str(data.resolve()) if data else "",
            weights=str(weights.resolve()) if weights else "",
            frames=units[0].frames,
            dtype=dtype or "",
            compiled=compiled,
        )
    )


def _ordered(plan: Plan) -> Plan:
    """The same plan, its units model by model and as the tasks list their clips."""
    models = {name: place for place, name in enumerate(plan.models)}
    clips = [{name: place for place, name in enumerate(task.clips)} for task in plan.tasks]
    order = sorted(plan.units, key=lambda one: (models[one.model], one.task, clips[one.task][one.clip]))
    return replace(plan, units=tuple(order))


def _label(task: Task) -> str:
    return f"{task.name}@{protocols.label(task.protocol)}"


def _planned(task: Task, root: Path) -> PlannedTask:
    source = task.protocol.detections
    if source and source not in SOURCES:
        source = str(Path(source).resolve())
    clips = tuple(task.benchmark.names(root))
    return PlannedTask(task.name, task.protocol.name, protocols.fingerprint(task.protocol), clips, source)


def pixels(task: Task, clip: Clip) -> float:
    """Estimate how many pixels a network sees of one frame, from the protocol's knobs."""
    knobs = task.protocol.knobs
    for name in ("letterbox", "input_size"):
        if knobs.get(name):
            height, width = knobs[name]
            return float(height * width)
    if "crop_size" in knobs:
        return float(knobs["crop_size"] ** 2 * knobs["scales"])
    short = knobs.get("short_side") or min(clip.height, clip.width)
    return float(clip.height * clip.width * (short / min(clip.height, clip.width)) ** 2)


def dump(plan: Plan) -> bytes:
    """Write a plan as JSON; the same plan gives the same bytes."""
    record = {name: value for name, value in asdict(plan).items() if value not in ("", (), None)}
    return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        PlanError: It is not there, not a plan, of another version of unibench, or contradicts itself.
    """
    try:
        plan: Plan = schema.json(Plan, schema.read_file(path), str(path))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}); make it with unibench plan") from error
    except schema.SchemaError as error:
        raise PlanError(f"{error}; make it with unibench plan") from error
    for problem in _problems(plan):
        raise PlanError(f"{path}: {problem}; make it again with unibench plan")
    return _ordered(plan)


def _problems(plan: Plan) -> Iterator[str]:
    if plan.format != FORMAT:
        yield f"format {plan.format!r}, expected {FORMAT!r}"
    if plan.unibench != version("unibench-tracking"):
        yield f"made by unibench {plan.unibench}, expected {version('unibench-tracking')}, which runs here"
    if plan.frames is not None and plan.frames < 2:
        yield f"frames is {plan.frames}, expected at least 2"
    if not plan.units:
        yield "no units, expected at least one"
    yield from _unit_problems(plan)


def _unit_problems(plan: Plan) -> Iterator[str]:
    clips = [set(task.clips) for task in plan.tasks]
    seen = set()
    for unit in plan.units:
        where = f"unit {unit.model!r} on clip {unit.clip!r}"
        if unit.model not in plan.models:
            yield f"{where}: model is not listed in models"
        if not 0 <= unit.task < len(plan.tasks):
            yield f"{where}: task {unit.task}, expected an index of the {len(plan.tasks)} tasks"
        elif unit.clip not in clips[unit.task]:
            yield f"{where}: clip is not listed in its task"
        if not unit.results:
            yield f"{where}: no layer in results"
        if not 0 <= unit.cost < math.inf:
            yield f"{where}: cost {unit.cost}, expected a positive number"
        if (key := (unit.model, unit.task, unit.clip)) in seen:
            yield f"{where}: is there twice"
        seen.add(key)
