"""What learns in a stage, how fast, and the average of the weights that it leaves."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unibench.errors import UnknownNameError
from unibench.joint.training.config import Stage, TrainOptions

SETTLED = 2000
"""Steps after which an average's decay has come to 1 - 1/e of what the config says."""


def enter(network: nn.Module, stage: Stage) -> None:
    """Let those modules learn that a stage names, or all: the others are frozen and run in evaluation mode.

    Args:
        network: Is changed in place.
        stage: Says which.
    """
    for name, one in network.named_parameters():
        one.requires_grad_(not stage.learnt or any(_inside(name, module) for module in stage.learnt))
        one.grad = None
    enter_mode(network, stage)


def enter_mode(network: nn.Module, stage: Stage) -> None:
    """Put those modules into training mode that learn in a stage, the others into evaluation mode."""
    network.train(not stage.learnt)
    for module in stage.learnt:
        network.get_submodule(module).train()


def check(network: nn.Module, stages: Iterable[Stage]) -> None:
    """Raise UnknownNameError if a stage names a module that the network lacks."""
    known = [name for name, _ in network.named_modules() if name]
    for stage in stages:
        for name in (*stage.learnt, *stage.rates):
            if name not in known:
                raise UnknownNameError(f"module of the network (stage {stage.name!r})", name, known)


def optimizer(network: nn.Module, stage: Stage, options: TrainOptions) -> torch.optim.Optimizer:
    """Make the optimiser of a stage, for the parameters that learn; each group holds its `factor` of the rate."""
    split: dict[tuple[float, bool], list[Tensor]] = {(1.0, True): [], (1.0, False): []}
    for name, one in network.named_parameters():
        if one.requires_grad:
            split.setdefault((_factor(name, stage), one.ndim > 1), []).append(one)
    groups = [
        {
            "params": some,
            "factor": factor,
            "weight_decay": options.decay if wide or options.decay_all else 0.0,
        }
        for (factor, wide), some in split.items()
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=stage.rate)
    return torch.optim.SGD(groups, lr=stage.rate, momentum=options.momentum)


def rate(step: int, stage: Stage) -> float:
    """Learning rate of a step of a stage: a warm-up, a cosine, and a last part on which it stays."""
    if step < stage.warmup:
        rise = (stage.rate - stage.warmup_rate) * float(step**stage.warmup_power)
        return stage.warmup_rate + rise / float(stage.warmup**stage.warmup_power)
    share = min(1.0, (step - stage.warmup) / max(1, stage.steps - stage.flat - stage.warmup))
    low = stage.floor * stage.rate
    return low + (stage.rate - low) * (1 + math.cos(math.pi * share)) / 2


def averaged(network: nn.Module) -> nn.Module:
    """Start an average of a network's weights: a copy, to be run only."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def average(mean: nn.Module, network: nn.Module, stage: Stage, steps: int) -> None:
    """Take a network's weights and statistics into their exponential moving average.

    Args:
        mean: From `averaged`; is changed in place.
        network: After a step.
        stage: Holds the decay.
        steps: Steps of the stage so far, this one included.
    """
    decay = stage.ema * (1 - math.exp(-steps / SETTLED))
    new = network.state_dict()
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - decay)  # exact where both are equal: frozen weights stay as they are
        else:
            value.copy_(new[name])


def _factor(name: str, stage: Stage) -> float:
    """Of a parameter's rate."""
    around = [module for module in stage.rates if _inside(name, module)]
    return float(stage.rates[max(around, key=len)]) if around else 1.0


def _inside(name: str, module: str) -> bool:
    """Whether a parameter is one of a module's."""
    return name.startswith(f"{module}.")
