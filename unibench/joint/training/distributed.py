"""The process group that trains one network: one process, or those that torchrun starts."""

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
class ProcessGroup:
    """One process among those that train one network."""

    rank: int
    world_size: int
    """Number of processes."""
    device: torch.device

    @property
    def writes_files(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Make every backward pass average the gradients over the processes."""
        if self.world_size == 1:
            return module
        # in a step without objects the parameters of some branches have no gradient
        return DistributedDataParallel(module, find_unused_parameters=True)

    def mean(self, values: Float[Tensor, " term"]) -> list[float]:
        """Average over the processes; every process must call it."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return [float(value) / self.world_size for value in values.tolist()]


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the other processes of this training, if torchrun's environment variables name any.

    Args:
        device: A torch device; `cuda` is the GPU of this process's local rank.

    Raises:
        TrainingError: The device cannot be used, or the other processes cannot be reached.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    torch_device = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        yield ProcessGroup(0, 1, torch_device)
        return
    try:
        distributed.init_process_group("nccl" if torch_device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"process {rank} of {world_size}: cannot join the others ({reason}); start with torchrun"
        ) from error
    try:
        yield ProcessGroup(rank, world_size, torch_device)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    try:
        device = torch.device(f"cuda:{local_rank}" if name == "cuda" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"device {name!r}: cannot be used ({reason}); try --device cpu") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
