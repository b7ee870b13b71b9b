"""A sweep as a file: what is to be computed and what must come out, so that many machines can share the work.

`plan.json` is data: it names models, tasks and clips, and holds the hash of every model, protocol and result. It
describes no network and holds no code: a node builds only what its own cards say, and notices at once where its cards,
weights, data, protocols or scoring differ from those of the plan.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from unibench import schema
from unibench.errors import PlanError
from unibench.evaluation.fingerprints import tracking_fingerprint
from unibench.evaluation.units import Unit
from unibench.records import Clip
from unibench.tasks import protocols, registry
from unibench.tasks.family import Task

FORMAT = "unibench plan 2"
FLOOR = 4_000_000
"""What decoding, head and scoring cost, as parameters of a network: a rough guess, which only balances shards."""


@dataclass(frozen=True)
class PlannedModel:
    """One model; two may have the same name."""

    name: str
    hash: str
    """Of its card and weights."""
    card: str = ""
    """The card's file, where it was given by its path, or the name in a library from which it is derived; empty: a node
    finds the card by the name."""


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
    """Source of the detections; empty: the task has none."""
    scoring: str = "1"
    """Version of the scoring."""
    windowing: str = "repeat"
    """What clip encoders are shown."""


@dataclass(frozen=True)
class PlannedUnit:
    """One model on one clip of one task."""

    model: int
    """Index into the plan's models."""
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
    models: tuple[PlannedModel, ...]
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
    *,
    data: Path | None = None,
    weights_path: Path | None = None,
    dtype: str | None = None,
    compiled: bool = False,
) -> Plan:
    """Make the plan of a list of units; the truth of every clip is read once.

    Args:
        units: What is asked for; at least one.
        data: Folder with the benchmarks' folders.
        weights_path: A weights file, or the folder that holds them.
        dtype: What the cards were told to compute in (`cards.running`); None: what they say themselves.
        compiled: Likewise.
    """
    clips: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        clips.setdefault((protocols.title(unit.task), unit.clip), []).append(unit)
    tasks = {protocols.title(unit.task): unit for unit in units}
    task_numbers = {label: number for number, label in enumerate(tasks)}
    cards = {unit.model: unit.card for unit in units}
    model_numbers = {model: number for number, model in enumerate(cards)}
    planned = []
    for (label, _), group in clips.items():
        clip, truth = registry.load_clip(group[0].task, group[0].root, group[0].clip, group[0].frames)
        shown = clip.length * pixels(group[0].task, clip)
        for unit in group:
            results = {layer: tracking_fingerprint(unit, layer, clip, truth) for layer in unit.layers}
            cost = round(shown * (unit.card.architecture.parameters + FLOOR) / 1e15, 6)
            planned.append(
                PlannedUnit(model_numbers[unit.model], task_numbers[label], unit.clip, cost, results)
            )
    return _ordered(
        Plan(
            format=FORMAT,
            models=tuple(
                PlannedModel(name, fingerprint, card.derived_from or str(card.path or ""))
                for (name, fingerprint), card in cards.items()
            ),
            tasks=tuple(_planned(unit.task, unit.root) for unit in tasks.values()),
            units=tuple(planned),
            data=str(data.resolve()) if data else "",
            weights=str(weights_path.resolve()) if weights_path else "",
            frames=units[0].frames,
            dtype=dtype or "",
            compiled=compiled,
        )
    )


def _ordered(plan: Plan) -> Plan:
    """The same plan, its units model by model and as the tasks list their clips."""
    clips = [{name: number for number, name in enumerate(task.clips)} for task in plan.tasks]
    order = sorted(plan.units, key=lambda one: (one.model, one.task, clips[one.task][one.clip]))
    return replace(plan, units=tuple(order))


def _planned(task: Task, root: Path) -> PlannedTask:
    source = task.protocol.detections
    return PlannedTask(
        name=task.name,
        protocol=task.protocol.name,
        hash=protocols.fingerprint(task.protocol),
        clips=tuple(task.benchmark.names(root)),
        detections=str(Path(source).resolve()) if task.protocol.detections_hash else source,
        scoring=task.family.scoring.version,
        windowing=task.protocol.windowing,
    )


def pixels(task: Task, clip: Clip) -> float:
    """Estimate how many pixels a network sees of one frame, from the protocol's knobs."""
    knobs = task.protocol.knobs
    if knobs.get("bytetrack"):
        return 0.0
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
    if plan.frames is not None and plan.frames < 2:
        yield f"frames is {plan.frames}, expected at least 2"
    if not plan.units:
        yield "no units, expected at least one"
    yield from _unit_problems(plan)


def _unit_problems(plan: Plan) -> Iterator[str]:
    clips = [set(task.clips) for task in plan.tasks]
    known = set()
    for unit in plan.units:
        where = f"unit of model {unit.model} on clip {unit.clip!r}"
        if not 0 <= unit.model < len(plan.models):
            yield f"{where}: model {unit.model}, expected an index of the {len(plan.models)} models"
        if not 0 <= unit.task < len(plan.tasks):
            yield f"{where}: task {unit.task}, expected an index of the {len(plan.tasks)} tasks"
        elif unit.clip not in clips[unit.task]:
            yield f"{where}: clip is not listed in its task"
        if not unit.results:
            yield f"{where}: no layer in results"
        if not 0 <= unit.cost < math.inf:
            yield f"{where}: cost {unit.cost}, expected a positive number"
        if (key := (unit.model, unit.task, unit.clip)) in known:
            yield f"{where}: is there twice"
        known.add(key)
