"""A tracker at work on a video: progress on the terminal, a drawn video and a file of what it says."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unibench.cli.tables import say
from unibench.datasets import video
from unibench.datasets.exchange import saving
from unibench.datasets.own_clips import Frames
from unibench.datasets.video import Video
from unibench.evaluation.track import track
from unibench.records import Clip, Model
from unibench.report import overlay
from unibench.results.predictions import Writer
from unibench.tasks import protocols
from unibench.tasks.family import Task

PAUSE = 60.0
"""Seconds between two lines of progress, where there is no terminal."""


def run(task: Task, model: Model, clip: Clip, frames: Frames, out: Path | None, save: Path | None) -> None:
    """Track a clip, and write what is asked for.

    Args:
        task: What is tracked.
        model: The tracker.
        clip: The video, with prompt or detections.
        frames: Where its frames lie.
        out: The drawn video; None: none.
        save: File or folder of the labels; None: none.

    Raises:
        UnibenchError: A frame is damaged, the tracker fails, or something cannot be written; nothing is left then.
    """
    start = time.perf_counter()
    times = frames.source.times if isinstance(frames.source, Video) else None
    colours: dict[int, str] = {}
    before: list[int] = []
    with ExitStack() as stack:
        labels_of = stack.enter_context(closing(Writer()))
        size = (clip.height, clip.width)
        push = stack.enter_context(video.writing(out, size, clip.fps)) if out else None
        show = stack.enter_context(_shown(clip.length))
        for frame, labels in track(task, model, clip):
            labels_of.append(labels)
            now = labels.ids.tolist()
            overlay.colour_more(colours, before, now)
            before = now
            if push:
                at = frame.index / clip.fps if times is None else float(times[frame.index])
                push(overlay.paint(frame.image, labels, colours), at)
            show(frame.index + 1)
        if save:
            saving.save(save, task.family.name, clip, labels_of.finish())
    seconds = time.perf_counter() - start
    say(f"{model.name} {task.family.name}@{protocols.label(task.protocol)}: {clip.length} frames, {len(colours)} ids, "
        f"{seconds:.1f} s ({clip.length / seconds:.1f} frames a second)")  # fmt: skip
    for path in filter(None, (out, save)):
        say(f"written: {path}")


@contextmanager
def _shown(length: int) -> Iterator[Callable[[int], None]]:
    """Show how many frames are done, and how fast: a bar on a terminal, a line a minute elsewhere."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    start = time.perf_counter()

    def rate(done: int) -> str:
        return f"{done / max(time.perf_counter() - start, 1e-9):.1f} frames a second"

    if not console.is_terminal:
        said = start

        def print_line(done: int) -> None:
            nonlocal said
            if time.perf_counter() - said >= PAUSE:
                said = time.perf_counter()
                console.print(f"[{done}/{length}] {rate(done)}", markup=False)

        yield print_line
        return
    columns = (TextColumn("tracking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=length, rate="")
        yield lambda done: progress.update(bar, completed=done, rate=rate(done))
