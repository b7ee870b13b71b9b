"""The benchmark as a table: what each task runs and how it is scored. Binds data, model, head and metric."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from unibench.datasets import BENCHMARKS, SOURCES, Benchmark, truncate, with_detections, without_detections
from unibench.datasets.benchmark import folder as benchmark_folder
from unibench.errors import TrackerError, UnknownNameError
from unibench.features.batching import Steps
from unibench.joint import systems
from unibench.joint.systems import JointModel
from unibench.models.cards import JOINT, Card
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Labels, Tally, Tracker, Truth
from unibench.tasks import protocols
from unibench.tasks.association import tracker as association
from unibench.tasks.association.tracker import AssociationOptions
from unibench.tasks.pose import tracker as pose
from unibench.tasks.protocols import Protocol
from unibench.tasks.scoring import SCORING, Scoring
from unibench.tasks.sot import tracker as box
from unibench.tasks.vos import tracker as mask

KINDS = {"frozen": "frozen models", "joint": "joint trackers"}
"""Kind of a card -> what such models are called."""
Model = FrozenModel | JointModel
Track = Callable[[Clip, FrozenModel, Sequence[str], Any], Iterator[dict[str, Labels]]]


@dataclass(frozen=True)
class Family:
    """What tasks of one kind have in common, whatever the benchmark."""

    name: str
    """The word before the slash of a task's name: `mot`."""
    track: Track
    options: type
    """The tracker's options: a dataclass whose fields are the knobs of the family's protocols."""
    scoring: Scoring


@dataclass(frozen=True)
class Task:
    """One family on one benchmark under one protocol."""

    name: str
    family: Family
    benchmark: Benchmark
    protocol: Protocol
    open: bool = field(default=False, compare=False)
    """Whether no protocol was asked for: models of another kind then take the default for their kind."""

    @property
    def in_steps(self) -> bool:
        """Whether what a network is shown of a frame depends on no other frame, and its tracker is `passes.Steps`."""
        return isinstance(self.family.track, Steps) and self.protocol.kind == "frozen"

    @property
    def tally(self) -> Callable[[Truth, Sequence[Labels]], Tally]:
        """Score one clip: what it adds."""
        return self.family.scoring.tally

    @property
    def pool(self) -> Callable[[Sequence[Tally]], Mapping[str, float]]:
        """Add the tallies of clips and divide: metric -> value."""
        return self.family.scoring.pool


FAMILIES: dict[str, Family] = {
    "sot": Family("sot", box.track, box.BoxTrackerOptions, SCORING["sot"]),
    "vos": Family("vos", mask.track, mask.MaskTrackerOptions, SCORING["vos"]),
    "mot": Family("mot", association.track, AssociationOptions, SCORING["mot"]),
    "mots": Family("mots", association.track, AssociationOptions, SCORING["mots"]),
    "posetrack": Family("posetrack", association.track, AssociationOptions, SCORING["posetrack"]),
    "pose": Family("pose", pose.track, pose.PoseTrackerOptions, SCORING["pose"]),
}


def find(spec: str, detections: str | None = None, kind: str = "frozen") -> Task:
    """Look up a task by its name, `family/benchmark` or `family/benchmark@protocol`.

    Args:
        spec: For instance `vos/davis2016` or `sot/otb@xcorr`.
        detections: Where given observations come from (`public`, `oracle`, `oracle+noise`, a folder); None: what the
            benchmark gives first. Tasks without detections, and protocols that give none, take no notice.
        kind: Kind of model whose default is taken where no protocol is named (`suit` changes that later).

    Raises:
        UnknownNameError: No such task, protocol or source of detections.
    """
    name, _, protocol_name = spec.partition("@")
    if name not in BENCHMARKS:
        raise UnknownNameError("task", name, BENCHMARKS, "unibench tasks")
    family = name.partition("/")[0]
    protocol = protocols.find(family, protocol_name, kind)
    benchmark = BENCHMARKS[name]
    if benchmark.detections and not protocol.private:
        protocol = replace(protocol, detections=detections or benchmark.detections[0])
        if detections in SOURCES and detections not in benchmark.detections:
            raise UnknownNameError(f"source of detections of {name!r}", detections, benchmark.detections)
        protocols.fingerprint(protocol)  # a folder that is not there is found out now, not clip by clip
    return Task(name, FAMILIES[family], benchmark, protocol, open=not protocol_name)


def suit(task: Task, card: Card) -> Task:
    """Give a task that was asked for without a protocol the default for a model's kind; leave any other as it is."""
    if not task.open or task.protocol.kind == card.kind:
        return task
    return find(task.name, task.protocol.detections or None, card.kind)


def why_not(task: Task, card: Card) -> str:
    """Say why a model cannot be run on a task; empty: it can.

    Raises:
        UnknownNameError: The card names a joint tracker that does not exist.
    """
    joint_tracker = card.kind == "joint"
    return _why_not(
        task, card.kind, systems.find(card.architecture.name).unsupported if joint_tracker else {}
    )


def _why_not(task: Task, kind: str, unsupported: Mapping[str, str]) -> str:
    family = task.name.partition("/")[0]
    if family in unsupported:
        return unsupported[family]
    if task.protocol.kind == kind:
        return ""
    fitting = [name for name, preset in protocols.PROTOCOLS[family].items() if preset.kind == kind]
    if not fitting:
        return f"{family} has no protocol for {KINDS[kind]}"
    return f"protocol {task.protocol.name!r} is not for {KINDS[kind]}; there are: {', '.join(fitting)}"


def folder(task: Task, data: Path | None) -> Path:
    """Where a task's data lie below the folder that `--data` names.

    Raises:
        DataError: No folder was named, or it does not hold the benchmark.
    """
    return benchmark_folder(task.benchmark, data)


def load_clip(task: Task, root: Path, name: str, frames: int | None = None) -> tuple[Clip, Truth]:
    """Load one clip as the task's protocol hands it over.

    Args:
        task: Says which detections are given.
        root: The benchmark's own folder.
        name: The clip.
        frames: Only the first so many frames; None: all.
    """
    clip, truth = task.benchmark.load(root, name)
    if task.protocol.private:
        clip = without_detections(clip)
    elif task.protocol.detections:
        clip = with_detections(clip, truth, task.protocol.detections)
    return (clip, truth) if frames is None else truncate(clip, truth, frames)


def clips(task: Task, data: Path | None = None, frames: int | None = None) -> Iterator[tuple[Clip, Truth]]:
    """Iterate lazily over a task's clips and their truth."""
    root = folder(task, data)
    for name in task.benchmark.names(root):
        yield load_clip(task, root, name, frames)


def bind_layers(
    task: Task, model: Model, layers: Sequence[str]
) -> Callable[[Clip], Iterator[dict[str, Labels]]]:
    """Make trackers of several layers that share one backbone pass wherever they read the same pixels.

    A frozen model becomes a tracker through the task's head; a joint tracker is one, and has the one layer `joint`.

    Returns:
        A function from a clip to its frames' labels, one Labels per layer.

    Raises:
        UnknownNameError: The model has no such layer.
        TrackerError: The model cannot do the task, or not under this protocol.
    """
    if isinstance(model, JointModel):
        _require(model.name, layers, (JOINT,), _why_not(task, "joint", model.unsupported))
        return lambda clip: ({JOINT: labels} for labels in model.track(clip, task.protocol.name))
    _require(model.name, layers, model.strides, _why_not(task, "frozen", {}))
    knobs = options(task.family.options, task.protocol.knobs)
    return lambda clip: task.family.track(clip, model, layers, knobs)


def _require(model: str, layers: Sequence[str], known: Collection[str], reason: str) -> None:
    for layer in layers:
        if layer not in known:
            raise UnknownNameError(f"layer of model {model!r}", layer, known)
    if reason:
        raise TrackerError(f"model {model!r}: {reason}")


def options(record: type, knobs: Mapping[str, Any]) -> Any:
    """Make a tracker's options of a protocol's knobs; a nested table becomes a nested record.

    Raises:
        TypeError: A knob is not one of the options.
    """
    hints = get_type_hints(record)
    return record(
        **{
            name: options(hints[name], value) if is_dataclass(hints.get(name)) else value
            for name, value in knobs.items()
        }
    )


def bind(task: Task, model: Model, layer: str) -> Tracker:
    """Make a tracker of a model's layer: from a clip to the labels of frame 0, 1, 2, ..."""
    track = bind_layers(task, model, [layer])
    return lambda clip: (labels[layer] for labels in track(clip))
