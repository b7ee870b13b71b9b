"""Long and crowded clips: memory as a clip goes on, the time of a frame with many detections or points.

python -m tests.benchmarks.long_clips memory random-resnet18 2000 --canvas 152 272
python -m tests.benchmarks.long_clips crowd 100 200 400 1000
python -m tests.benchmarks.long_clips points random-resnet18 nearest 1000 100
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import torch

from heads import rsm
from tests.benchmarks import rendered
from unibench import models
from unibench.evaluation import run_clip
from unibench.evaluation.units import Unit
from unibench.models import cards, frozen
from unibench.tasks import registry
from unibench.tasks.model_kinds import follow_frozen

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
    clip, truth = rendered.people(frames, SIZE)
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


def points(model: str, protocol: str, count: int, frames: int) -> tuple[float, float, list[float]]:
    """Follow points over a clip of 256 x 256.

    Args:
        model: Name of a frozen model; its default layer is taken.
        protocol: Of points.
        count: Number of points, all given in the first frame.
        frames: Of the clip.

    Returns:
        Processor seconds of the network alone (twice, before and after the tracker: the mean) and of the whole tracker,
        and the memory in MiB after every `EVERY` // 10 frames.
    """
    card, task = cards.find(model), registry.find(f"points/synthetic@{protocol}")
    network, layers = frozen.load(card), [card.default_layer]
    clip = rendered.points(frames, (256, 256), count)()

    def alone() -> float:
        start = process_time()
        with torch.inference_mode():
            for frame in clip.frames():
                network.network(network.prepare(frame.image)[None], layers)
        return process_time() - start

    before, start = alone(), process_time()
    held = [
        resident()[0]
        for index, _ in enumerate(follow_frozen(card, network, task, layers)(clip))
        if not index % (EVERY // 10)
    ]
    whole = process_time() - start
    return (before + alone()) / 2, whole, held


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.long_clips", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    of_memory = commands.add_parser("memory")
    of_memory.add_argument("model")
    of_memory.add_argument("frames", type=int)
    of_memory.add_argument("--canvas", type=int, nargs=2)
    commands.add_parser("crowd").add_argument("objects", type=int, nargs="+")
    of_points = commands.add_parser("points")
    of_points.add_argument("model")
    of_points.add_argument("protocol")
    of_points.add_argument("points", type=int)
    of_points.add_argument("frames", type=int)
    asked = parser.parse_args()
    if asked.what == "crowd":
        for objects in asked.objects:
            print(f"{objects} objects: {crowd(objects):.3g} s", flush=True)
        return
    if asked.what == "points":
        alone, whole, held = points(asked.model, asked.protocol, asked.points, asked.frames)
        print(f"network {alone:.3g} s, tracker {whole:.3g} s: {whole / alone:.2f} of the network's time")
        print(f"MiB: {', '.join(f'{one:.0f}' for one in held)}")
        return
    for frames, now, peak in memory(asked.model, asked.frames, asked.canvas and tuple(asked.canvas)):
        print(f"{frames} frames: {now:.0f} MiB, peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
