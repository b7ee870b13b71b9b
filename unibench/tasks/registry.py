"""The table of all families and tasks: find a task, read its clips, bind a model to it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unibench.datasets import (
    BENCHMARKS,
    SOURCES,
    class_names,
    truncate,
    with_detections,
    without_detections,
)
from unibench.datasets import points as tracked_points
from unibench.datasets.benchmark import folder as benchmark_folder
from unibench.errors import TrackerError, UnknownNameError
from unibench.models.windows import REPEAT, WINDOWINGS
from unibench.records import Clip, Model, Tracker, Truth
from unibench.tasks import association, detection, points, pose, protocols, sot, vos
from unibench.tasks.family import Family, Task

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        sot.FAMILY,
        vos.FAMILY,
        association.MOT,
        association.MOTS,
        association.POSETRACK,
        pose.FAMILY,
        points.FAMILY,
        detection.FAMILY,
    )
}
"""Every family by its name, in the order in which boards show them. A plug-in adds its own."""
RENDERED = tuple(
    f"{task}@small" if "small" in family.presets else task
    for name, family in FAMILIES.items()
    if (task := f"{name}/synthetic") in BENCHMARKS
)
"""Every family's task on the rendered clips, under the protocol for small frames where there is one."""


def family_of(task: str) -> Family:
    """Look up the family of a task by the task's name, `family/benchmark`.

    Raises:
        UnknownNameError: There is no such family.
    """
    name = task.partition("/")[0]
    if name not in FAMILIES:
        raise UnknownNameError("family of tasks", name, FAMILIES, "unibench tasks")
    return FAMILIES[name]


def find(spec: str, detections: str | None = None, windowing: str = REPEAT) -> Task:
    """Look up a task by its name, `family/benchmark` or `family/benchmark@protocol`.

    Args:
        spec: For instance `vos/davis2016`, `sot/otb@xcorr`, or for some classes only `mot/shapes:disc,square`. Without
            a protocol, each model takes the family's first preset that it can run: see `for_model`.
        detections: Source of the detections (`public`, `oracle`, `oracle+noise`, a folder); None: the first that the
            benchmark has. Of no effect on tasks without detections and on protocols that hand over none.
        windowing: What clip encoders are shown, one of `models.windows.WINDOWINGS`.

    Raises:
        UnknownNameError: No such task, protocol, source of detections or windowing.
        DataError: A folder of detections is not there, or the classes are no names.
    """
    asked, _, protocol_name = spec.partition("@")
    name, some, names = asked.partition(":")
    classes = class_names.parse(names) if some else ()
    if name not in BENCHMARKS:
        raise UnknownNameError("task", name, BENCHMARKS, "unibench tasks")
    benchmark, family = BENCHMARKS[name], family_of(name)
    protocol = protocols.find(family, protocol_name or next(iter(family.presets)))
    if benchmark.detections and not protocol.private:
        if detections in SOURCES and detections not in benchmark.detections:
            raise UnknownNameError(f"source of detections of {name!r}", detections, benchmark.detections)
        protocol = protocols.with_detections(protocol, detections or benchmark.detections[0])
    if windowing not in WINDOWINGS:
        raise UnknownNameError("windowing", windowing, WINDOWINGS)
    protocol = replace(protocol, windowing=windowing)
    label = f"{name}:{','.join(classes)}" if classes else name
    return Task(label, family, benchmark, protocol, any_protocol=not protocol_name, classes=classes)


def for_model(task: Task, model: Model) -> Task:
    """Choose the protocol of a task that was found without one: the family's first preset that a model can run.

    Returns:
        The task as it is where it names its protocol, or where the model can run none; but for models that see one
        image at a time, in image mode.
    """
    if not model.reads_windows:
        task = replace(task, protocol=replace(task.protocol, windowing=REPEAT))
    if not task.any_protocol:
        return task
    detections, windowing = task.protocol.detections or None, task.protocol.windowing
    candidates = (
        replace(find(f"{task.name}@{preset}", detections, windowing), any_protocol=True)
        for preset in task.family.presets
    )
    return next((one for one in candidates if not model.unsupported_reason(one)), task)


def folder(task: Task, data: Path | None) -> Path:
    """Where a task's data lie below the folder that `--data` names.

    Raises:
        DataError: No folder was named, or it does not hold the benchmark.
    """
    return benchmark_folder(task.benchmark, data)


def load_plain(task: Task, root: Path, name: str, frames: int | None = None) -> tuple[Clip, Truth]:
    """Load one clip and its truth as they are scored, without the protocol's detections.

    Args:
        task: Of its protocol, only the query mode plays a part.
        root: The benchmark's own folder.
        name: The clip.
        frames: Only the first so many frames; None: all.
    """
    clip, truth = task.benchmark.load(root, name)
    if task.classes:
        clip, truth = class_names.restrict(clip, truth, task.classes)
    return _cut(task, clip, truth, frames)


def _cut(task: Task, clip: Clip, truth: Truth, frames: int | None) -> tuple[Clip, Truth]:
    """The first frames, with the points that the query mode asks for in them."""
    if frames is not None:
        clip, truth = truncate(clip, truth, frames)
    if task.protocol.knobs.get("query_mode") == "strided":
        clip, truth = tracked_points.ask_again(clip, truth)
    return clip, truth


def under(task: Task, label: str) -> Task:
    """The task under the protocol that a stored result names; as it is where that is no preset of the family."""
    preset = task.family.presets.get(protocols.read_label(label)[0])
    return task if preset is None else replace(task, protocol=preset)


def load_clip(task: Task, root: Path, name: str, frames: int | None = None) -> tuple[Clip, Truth]:
    """Load one clip as the task's protocol hands it over.

    Args:
        task: Says which detections the frames carry.
        root: The benchmark's own folder.
        name: The clip.
        frames: Only the first so many frames; None: all.
    """
    clip, truth = task.benchmark.load(root, name)
    if task.protocol.private:
        clip = without_detections(clip)
    elif task.protocol.detections:
        clip = with_detections(clip, truth, task.protocol.detections)
    if task.classes:
        clip, truth = class_names.restrict(clip, truth, task.classes)
    return _cut(task, clip, truth, frames)


def clips(task: Task, data: Path | None = None, frames: int | None = None) -> Iterator[tuple[Clip, Truth]]:
    """Iterate lazily over a task's clips and their truth."""
    root = folder(task, data)
    for name in task.benchmark.names(root):
        yield load_clip(task, root, name, frames)


def bind(task: Task, model: Model, layer: str | None = None) -> Tracker:
    """Make a tracker of a model: from a clip to the labels of frame 0, 1, 2, ...

    Args:
        task: What is tracked; a protocol that it does not name is the first that the model can run.
        model: From `models.open`.
        layer: One of the model's; None: its default.

    Raises:
        UnknownNameError: The model has no such layer.
        TrackerError: The model cannot do the task, or not under this protocol.
    """
    chosen = for_model(task, model)
    if reason := model.unsupported_reason(chosen):
        raise TrackerError(f"model {model.name!r}: {reason}")
    name = layer or model.default_layer
    track = model.bind(chosen, [name])
    return lambda clip: (labels[name] for labels in track(clip))
