"""The processes that train one network together: one, or those that torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from unibench.errors import TrainingError


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def together(self, module: nn.Module) -> nn.Module:
        """Make every backward pass average the gradients over the processes."""
        if self.count == 1:
            return module
        # a step without objects leaves the parameters of some branch without gradient: they are looked for
        return DistributedDataParallel(module, find_unused_parameters=True)

    def mean(self, values: Float[Tensor, " term"]) -> list[float]:
        """Average over the processes; all of them must ask."""
        if self.count > 1:
            distributed.all_reduce(values)
        return [float(value) / self.count for value in values.tolist()]


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Meet the other processes of this training, where torchrun's variables say that there are any.

    Args:
        device: A torch device; `cuda` stands for the GPU of this process's own number.

    Raises:
        TrainingError: The device is not there, or the others cannot be reached.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    place = _place(device, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Processes(0, 1, place)
        return
    try:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"process {rank} of {count}: cannot join the others ({reason}); start with torchrun"
        ) from error
    try:
        yield Processes(rank, count, place)
    finally:
        distributed.destroy_process_group()


def _place(device: str, local: int) -> torch.device:
    try:
        place = torch.device(f"cuda:{local}" if device == "cuda" else device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"device {device!r}: cannot be used ({reason}); try --device cpu") from error
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return place
