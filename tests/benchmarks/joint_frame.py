"""Seconds and peak memory of a joint tracker with random parameters, at the size of its config.

    python -m tests.benchmarks.joint_frame unicorn tiny_mask --task sot --frames 3

Each call is a process of its own, so that the peak is that of one task.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

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
    parts: Mapping[str, float]
    """Seconds of all frames in each part of the network, what it calls included; those below .1 % are left out."""


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
        _timed(network, device) as parts,
        frozen.exact(),
        torch.autocast(torch.device(device).type, precision, enabled=precision != torch.float32),
    ):
        most = peak(run, device)
    parameters = sum(one.numel() for one in network.parameters())
    shares = {part: taken for part, taken in parts.items() if taken > 1e-3 * sum(seconds)}
    return Tracked((view.height, view.width), parameters, seconds, objects, most, resident, shares)


@contextmanager
def _timed(network: nn.Module, device: str) -> Iterator[dict[str, float]]:
    """Add up the seconds of the network's modules and of theirs; lists of modules are taken apart."""
    seconds: dict[str, float] = {}

    def hooks(part: str, module: nn.Module) -> list[RemovableHandle]:
        began: list[float] = []

        def before(*_: object) -> None:
            wait(device)
            began.append(time.perf_counter())

        def after(*_: object) -> None:
            wait(device)
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - began.pop()

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    handles = [handle for name, module in _parts(network) for handle in hooks(name, module)]
    try:
        yield seconds
    finally:
        for handle in handles:
            handle.remove()


def _parts(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a network and, of each, its own ones."""
    for name, child in network.named_children():
        for module in child if isinstance(child, nn.ModuleList) else [child]:
            yield name, module
            yield from ((f"{name}.{part}", one) for part, one in module.named_children())


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
    for part, seconds in sorted(found.parts.items(), key=lambda one: -one[1]):
        print(f"  {part}: {seconds / given.frames * 1e3:.0f} ms a frame")


if __name__ == "__main__":
    main()
