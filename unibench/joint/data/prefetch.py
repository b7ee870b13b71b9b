"""The batches of a training's steps, in order, on the device."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from unibench.errors import UnibenchError
from unibench.joint.data import sampling
from unibench.joint.system import Batch, Targets, TrainingSet

WORKERS = 8
"""At most so many processes prefetch batches for a GPU: threads would take Python's lock from the step itself."""


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
    """Give this process's batches in order; for a GPU they are prefetched by other processes.

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
    workers = max(1, min(WORKERS, (os.cpu_count() or 1) // world_size - 1))
    return (_moved(batch, device) for batch in prefetch(make, steps, workers))


def prefetch(make: Callable[[int], Batch], steps: range, workers: int) -> Iterator[Batch]:
    """Make batches in processes, at most two a process before they are needed, and give them in order.

    Args:
        make: Step -> its batch; a function of nothing else.
        steps: The steps to be done.
        workers: How many work at once.

    Raises:
        UnibenchError: What `make` raises of this kind, as it is.
    """
    loader: DataLoader[Batch | UnibenchError] = DataLoader(
        _Steps(make, steps),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="fork",
        generator=torch.Generator(),  # torch's global one would be drawn from
    )
    for made in loader:
        if isinstance(made, UnibenchError):
            raise made
        yield made


@dataclass(frozen=True)
class _Steps(Dataset[Batch | UnibenchError]):
    """Batches by their place in a range of steps. An error is handed over: the loader would wrap it in a traceback."""

    make: Callable[[int], Batch]
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: int) -> Batch | UnibenchError:
        try:
            return self.make(self.steps[place])
        except UnibenchError as error:
            return error


def _moved(batch: Batch, device: torch.device) -> Batch:
    def moved(one: Targets) -> Targets:
        return Targets(**{field.name: getattr(one, field.name).to(device) for field in fields(Targets)})

    targets = tuple(tuple(moved(one) for one in clip) for clip in batch.targets)
    return replace(batch, images=batch.images.to(device), targets=targets)
