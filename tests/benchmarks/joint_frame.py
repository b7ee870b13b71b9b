"""Seconds and peak memory of a joint tracker with random parameters, at the size of its config.

    python -m tests.benchmarks.joint_frame unicorn tiny_mask --task sot --frames 3

Each call is a process of its own, so that the peak is that of one task.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tests.benchmarks.sections import peak, wait
from unibench.joint import systems
from unibench.joint.training import config as configs
from unibench.models import frozen
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry

PROTOCOLS = {"mot": "private", "sot": "box"}


@dataclass(frozen=True)
class Tracked:
    """What a tracker took."""

    canvas: tuple[int, int]
    """Height and width, pixels."""
    parameters: int
    seconds: Sequence[float]
    """Of each frame; the first ones are slower."""
    objects: Sequence[int]
    """That it found in each frame."""
    peak: float | None
    """MiB of tensors on the device, the network's included; None on a CPU."""
    resident: int
    """KiB that the process had at most before it tracked."""


def clip(height: int, width: int, frames: int, prompt: Labels, classes: Sequence[str]) -> Clip:
    """Noise that is made beforehand; `prompt` is that of frame 0, `classes` are those that a network finds."""
    images = [
        np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for index in range(min(frames, 4))
    ]

    def show() -> Iterator[Frame]:
        for index in range(frames):
            yield Frame(index, images[index % len(images)], prompt=prompt if index == 0 else Labels())

    return Clip("noise", height, width, 30.0, frames, show, vocabulary=tuple(classes))


def track(
    name: str, config_name: str, task: str, frames: int, device: str = "cpu", dtype: str = "float32"
) -> Tracked:
    """Track noise.

    Args:
        name: A system.
        config_name: One of its configs.
        task: `mot` or `sot`.
        frames: How many.
        device: A torch device.
        dtype: Other than float32: that of torch's autocast around the tracker.
    """
    system = systems.find(name)
    config = configs.read(config_name, system)
    if (
        name == "trivd"
    ):  # its paper's text encoder is a folder that is not ours; the tracker runs it once a clip
        config = replace(config, text=replace(config.text, folder=""))
    torch.manual_seed(0)
    with torch.device(device):  # where random numbers are faster drawn
        network = system.build(config).eval()
    view, asked = config.view, registry.find(f"{task}/shapes@{PROTOCOLS[task]}")
    prompt = Labels(
        ids=np.array([1]), boxes=np.array([[0.1, 0.1, 0.4, 0.5]]) * ([view.width, view.height] * 2)
    )
    video = clip(view.height, view.width, frames, prompt if task == "sot" else Labels(), config.classes[:1])
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, objects = [], []

    def run() -> None:
        start = time.perf_counter()
        for labels in system.track(network, config, video, asked):
            wait(device)
            now = time.perf_counter()
            seconds.append(now - start)
            start = now
            objects.append(len(labels.ids))

    precision = getattr(torch, dtype)
    with (
        frozen.exact(),
        torch.autocast(torch.device(device).type, precision, enabled=precision != torch.float32),
    ):
        most = peak(run, device)
    parameters = sum(one.numel() for one in network.parameters())
    return Tracked((view.height, view.width), parameters, seconds, objects, most, resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system")
    parser.add_argument("config")
    parser.add_argument("--task", choices=PROTOCOLS, default="mot")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="of torch's autocast around the tracker")
    given = parser.parse_args()
    found = track(given.system, given.config, given.task, given.frames, given.device, given.dtype)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = "" if found.peak is None else f", {found.peak:.0f} MiB on {given.device}"
    print(
        f"{given.system} {given.config} {given.task} {given.dtype}, {found.canvas[0]} x {found.canvas[1]}, "
        f"{found.parameters / 1e6:.1f} M, {torch.get_num_threads()} threads: frames "
        f"{', '.join(f'{one:.3f}' for one in found.seconds)} s; peak {most / 2**10:.0f} MiB, "
        f"{(most - found.resident) / 2**10:.0f} MiB above the network{on_device}"
    )  # fmt: skip


if __name__ == "__main__":
    main()
