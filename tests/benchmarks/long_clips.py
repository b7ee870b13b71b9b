"""Long and crowded clips: the memory of MOT as a clip goes on, the time of a frame with many detections.

python -m tests.benchmarks.long_clips memory random-resnet18 2000 --canvas 152 272
python -m tests.benchmarks.long_clips crowd 100 200 400 1000
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import torch

from heads import rsm
from tests.benchmarks.rendered import people
from unibench import models
from unibench.evaluation import run_clip
from unibench.evaluation.units import Unit
from unibench.models import cards
from unibench.tasks import registry

SIZE = (128, 128)
"""Height and width of the frames."""
EVERY = 100
"""Frames between two readings."""
POINTS, CHANNELS = 40, 256
"""Of each object that is compared: those of MOT's boxes and of a ResNet-18's layer3."""


def resident() -> tuple[float, float]:
    """Memory of this process in MiB, now and at its peak, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if "kB" in rest
    }
    return found["VmRSS"] / 1024, found["VmHWM"] / 1024


def memory(model: str, frames: int, canvas: tuple[int, int] | None) -> list[tuple[int, float, float]]:
    """Run MOT on a clip of tiny frames with 20 people.

    Args:
        model: Name of a frozen model; its default layer is taken.
        frames: Of the clip.
        canvas: Height and width of what the network sees; None: the frames as they are.

    Returns:
        After every `EVERY` frames and the last: their number, memory in MiB, and its peak.
    """
    clip, truth = people(frames, SIZE)
    task = registry.find("mot/mot17")
    task = replace(
        task,
        benchmark=replace(task.benchmark, load=lambda *_: (clip(), truth)),
        protocol=replace(task.protocol, knobs={**task.protocol.knobs, "letterbox": canvas}),
    )
    card = cards.find(model)
    unit = Unit(card, "benchmark", (card.default_layer,), task, Path(), "rendered", None)
    found: list[tuple[int, float, float]] = []

    def note(step: run_clip.Step) -> None:
        if step.frame % EVERY == 0 or step.frame == frames:
            found.append((step.frame, *resident()))

    with TemporaryDirectory() as out:
        for done in run_clip.run_model([unit], models.open(card), Path(out), on_step=note):
            assert not done.error, done.error
    return found


def crowd(objects: int) -> float:
    """Processor seconds of the similarity of so many tracks with as many detections."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(CHANNELS, generator=generator)
    tracks = list(common + torch.randn(objects, POINTS, CHANNELS, generator=generator))
    detections = [one + 0.3 * torch.randn(POINTS, CHANNELS, generator=generator) for one in tracks]
    start = process_time()
    rsm.similarity(tracks, detections)
    return process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.long_clips", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    of_memory = commands.add_parser("memory")
    of_memory.add_argument("model")
    of_memory.add_argument("frames", type=int)
    of_memory.add_argument("--canvas", type=int, nargs=2)
    commands.add_parser("crowd").add_argument("objects", type=int, nargs="+")
    asked = parser.parse_args()
    if asked.what == "crowd":
        for objects in asked.objects:
            print(f"{objects} objects: {crowd(objects):.3g} s", flush=True)
        return
    for frames, now, peak in memory(asked.model, asked.frames, asked.canvas and tuple(asked.canvas)):
        print(f"{frames} frames: {now:.0f} MiB, peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
