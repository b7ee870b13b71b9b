"""Seconds and peak memory of a joint tracker with random parameters, at the size of its config.

    python -m tests.benchmarks.joint_frame unicorn tiny_mask --task sot --frames 3

Each call is a process of its own, so that the peak is that of one task.
"""

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
import torch

from unibench.joint import systems
from unibench.joint.training import config as configs
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry

PROTOCOLS = {"mot": "private", "sot": "box"}


def clip(height: int, width: int, frames: int, prompt: Labels | None) -> Clip:
    """Noise; `prompt` is that of frame 0."""

    def draw() -> Iterator[Frame]:
        for index in range(frames):
            image = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
            yield Frame(index, image, prompt=prompt if index == 0 else None)

    return Clip("noise", height, width, 30.0, frames, draw, vocabulary=("pedestrian",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system")
    parser.add_argument("config")
    parser.add_argument("--task", choices=PROTOCOLS, default="mot")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    system = systems.find(given.system)
    config = configs.read(given.config, system)
    torch.manual_seed(0)
    network = system.build(config).eval().to(given.device)
    parameters = sum(one.numel() for one in network.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    view = config.view
    prompt = (
        Labels(ids=np.array([1]), boxes=np.array([[100.0, 100, 300, 400]])) if given.task == "sot" else None
    )
    task = registry.find(f"{given.task}/shapes@{PROTOCOLS[given.task]}")
    start = time.perf_counter()
    seconds = []
    for _ in system.track(network, config, clip(view.height, view.width, given.frames, prompt), task):
        now = time.perf_counter()
        seconds.append(now - start)
        start = now
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{given.system} {given.config} {given.task}, {view.height} x {view.width}, {parameters / 1e6:.1f} M, "
        f"{torch.get_num_threads()} threads: frames {', '.join(f'{one:.2f}' for one in seconds)} s; peak "
        f"{peak / 2**10:.0f} MiB, {(peak - before) / 2**10:.0f} MiB above the network"
    )  # fmt: skip


if __name__ == "__main__":
    main()
