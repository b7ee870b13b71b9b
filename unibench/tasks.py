"""The benchmark as a table: what each task runs and how it is scored. Binds data, model, head and metric."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from unibench import protocols
from unibench.datasets import BENCHMARKS, SOURCES, Benchmark, truncate, with_detections
from unibench.datasets.benchmark import folder as benchmark_folder
from unibench.errors import UnknownNameError
from unibench.models import FrozenModel
from unibench.protocols import Protocol
from unibench.records import Clip, Labels, Tally, Tracker, Truth
from unibench.scoring import SCORING, Scoring
from unibench.trackers import association, box, mask, pose
from unibench.trackers.association import AssociationOptions

Track = Callable[[Clip, FrozenModel, Sequence[str], Any], Iterator[dict[str, Labels]]]


@dataclass(frozen=True)
class Family:
    """What tasks of one kind have in common, whatever the benchmark."""

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

    @property
    def tally(self) -> Callable[[Truth, Sequence[Labels]], Tally]:
        """Score one clip: what it adds."""
        return self.family.scoring.tally

    @property
    def pool(self) -> Callable[[Sequence[Tally]], Mapping[str, float]]:
        """Add the tallies of clips and divide: metric -> value."""
        return self.family.scoring.pool


FAMILIES: dict[str, Family] = {
    "sot": Family(box.track, box.BoxTrackerOptions, SCORING["sot"]),
    "vos": Family(mask.track, mask.MaskTrackerOptions, SCORING["vos"]),
    "mot": Family(association.track, AssociationOptions, SCORING["mot"]),
    "mots": Family(association.track, AssociationOptions, SCORING["mots"]),
    "posetrack": Family(association.track, AssociationOptions, SCORING["posetrack"]),
    "pose": Family(pose.track, pose.PoseTrackerOptions, SCORING["pose"]),
}


def find(spec: str, detections: str | None = None) -> Task:
    """Look up a task by its name, `family/benchmark` or `family/benchmark@protocol`.

    Args:
        spec: For instance `vos/davis2016` or `sot/otb@xcorr`.
        detections: Where given observations come from (`public`, `oracle`, `oracle+noise`, a folder); None: what the
            benchmark gives first. Tasks without detections take no notice.

    Raises:
        UnknownNameError: No such task, protocol or source of detections.
    """
    name, _, protocol_name = spec.partition("@")
    if name not in BENCHMARKS:
        raise UnknownNameError("task", name, BENCHMARKS, "unibench tasks")
    family = name.partition("/")[0]
    protocol = protocols.find(family, protocol_name)
    benchmark = BENCHMARKS[name]
    if benchmark.detections:
        protocol = replace(protocol, detections=detections or benchmark.detections[0])
        if detections in SOURCES and detections not in benchmark.detections:
            raise UnknownNameError(f"source of detections of {name!r}", detections, benchmark.detections)
        protocols.fingerprint(protocol)  # a folder that is not there is found out now, not clip by clip
    return Task(name, FAMILIES[family], benchmark, protocol)


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
    if task.protocol.detections:
        clip = with_detections(clip, truth, task.protocol.detections)
    return (clip, truth) if frames is None else truncate(clip, truth, frames)


def clips(task: Task, data: Path | None = None, frames: int | None = None) -> Iterator[tuple[Clip, Truth]]:
    """Iterate lazily over a task's clips and their truth."""
    root = folder(task, data)
    for name in task.benchmark.names(root):
        yield load_clip(task, root, name, frames)


def bind_layers(
    task: Task, model: FrozenModel, layers: Sequence[str]
) -> Callable[[Clip], Iterator[dict[str, Labels]]]:
    """Make trackers of several layers that share one backbone pass wherever they read the same pixels.

    Returns:
        A function from a clip to its frames' labels, one Labels per layer.

    Raises:
        UnknownNameError: The model has no such layer.
    """
    for layer in layers:
        if layer not in model.strides:
            raise UnknownNameError(f"layer of model {model.name!r}", layer, model.strides)
    knobs = options(task.family.options, task.protocol.knobs)
    return lambda clip: task.family.track(clip, model, layers, knobs)


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


def bind(task: Task, model: FrozenModel, layer: str) -> Tracker:
    """Make a tracker of a frozen model: from a clip to the labels of frame 0, 1, 2, ..."""
    track = bind_layers(task, model, [layer])
    return lambda clip: (labels[layer] for labels in track(clip))
