"""The batches of a training's steps, in order, on the device."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from typing import Any

import torch

from unibench.joint.data import sampling
from unibench.joint.system import Batch, Targets, TrainingSet

THREADS = 8
"""At most so many prefetch batches for a GPU."""


def batches(  # noqa: PLR0913 - what a batch is, and its place in the training
    training_sets: Sequence[TrainingSet],
    config: Any,
    stage: Any,
    steps: range,
    *,
    device: torch.device,
    prompted: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Give this process's batches in order; for a GPU they are prefetched in threads.

    Args:
        training_sets: What to learn from.
        config: Its `sample`, `view` and `train` are used.
        stage: Its `alternate` and `masks` are used.
        steps: Numbers of the batches.
        device: Where the batches go.
        prompted: Whether a batch comes from one training set and has its classes.
        rank: Number of this process among those that train together.
        world_size: Number of those processes.
    """

    def make(step: int) -> Batch:
        return sampling.batches(
            training_sets, config.sample, config.view,
            seed=config.train.seed, step=step, rank=rank, world_size=world_size,
            size=config.train.batch // world_size,
            objective=stage.alternate[step % len(stage.alternate)], masks=stage.masks, prompted=prompted,
        )  # fmt: skip

    if device.type == "cpu":
        return map(make, steps)
    threads = max(1, min(THREADS, (os.cpu_count() or 1) // world_size))
    return (_moved(batch, device) for batch in prefetch(make, steps, threads))


def prefetch(make: Callable[[int], Batch], steps: range, threads: int) -> Iterator[Batch]:
    """Make batches in threads, at most two a thread before they are needed, and give them in order.

    Args:
        make: Step -> its batch; a function of nothing else.
        steps: The steps to be done.
        threads: How many work at once.
    """
    todo = iter(steps)
    with ThreadPoolExecutor(threads) as pool:
        made = deque(pool.submit(make, step) for step in islice(todo, 2 * threads))
        while made:
            batch = made.popleft().result()
            made.extend(pool.submit(make, step) for step in islice(todo, 1))
            yield batch


def _moved(batch: Batch, device: torch.device) -> Batch:
    def moved(one: Targets) -> Targets:
        return Targets(**{field.name: getattr(one, field.name).to(device) for field in fields(Targets)})

    targets = tuple(tuple(moved(one) for one in clip) for clip in batch.targets)
    return replace(batch, images=batch.images.to(device), targets=targets)
