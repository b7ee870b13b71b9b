"""A tracker runs on one clip that has no truth: a user's video."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from unibench.datasets.prompts import KINDS
from unibench.errors import TrackerError
from unibench.evaluation import heap
from unibench.records import Clip, Frame, Labels, Model
from unibench.tasks import registry
from unibench.tasks.family import Task

FAMILIES = ("mot", "sot", "vos", "mots", "pose", "points")
"""What can be tracked in a video."""


def choose_task(spec: str, model: Model, *, prompt: bool, detections: bool) -> Task:
    """Find the task that a model does on a video, and check that it gets what it needs.

    Args:
        spec: Family, or `family@protocol`; without a protocol the first that the model can run.
        model: The tracker.
        prompt: Whether there is a prompt.
        detections: Whether there are detections.

    Raises:
        UnknownNameError: There is no such family or protocol.
        TrackerError: The model cannot do the task, or something is missing or of no use.
    """
    family, at, protocol = spec.partition("@")
    task = registry.for_model(registry.find(f"{family}/folder{at}{protocol}"), model)
    if reason := model.unsupported_reason(task):
        raise TrackerError(f"model {model.name!r}: {reason}")
    what = f"{model.name} on {family}@{task.protocol.name}"
    if family in KINDS and not prompt:
        raise TrackerError(f"{what}: no prompt, expected {KINDS[family]}; give it with --prompt")
    if family not in KINDS and prompt:
        raise TrackerError(f"{what}: takes no prompt, it tracks all objects; leave --prompt out")
    wanted = bool(task.protocol.detections)
    if wanted and not detections:
        raise TrackerError(
            f"{what}: links detections, expected a file of them; give it with --detections, or choose a joint tracker"
        )
    if detections and not wanted:
        raise TrackerError(f"{what}: takes no detections; leave --detections out, or name another protocol")
    return task


def track(task: Task, model: Model, clip: Clip) -> Iterator[tuple[Frame, Labels]]:
    """Track a clip; frames are held only until their labels are there.

    Args:
        task: From `choose_task`.
        model: The tracker.
        clip: Its frames carry the prompt or the detections that the task needs.

    Yields:
        Each frame, in order, and what the tracker says of it.

    Raises:
        UnibenchError: A frame is damaged, the weights do not fit, or the tracker fails.
    """
    waiting: deque[Frame] = deque()

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            waiting.append(frame)
            yield frame

    tracker = registry.bind(task, model)
    count = 0
    for count, labels in enumerate(tracker(replace(clip, frames=frames)), start=1):
        yield waiting.popleft(), labels
        if count % heap.FRAMES == 0:
            heap.trim()
    if waiting or count != clip.length:
        raise TrackerError(f"clip {clip.name!r}: labels of {count} frames, expected {clip.length}")
