"""How fast parameters change, step by step."""

import math

import torch
from torch import nn

from unibench.joint.training.config import TrainOptions


def optimizer(network: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Make the optimiser of a config; biases and normalisations do not decay."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": options.decay},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.rate)
    return torch.optim.SGD(groups, lr=options.rate, momentum=options.momentum)


def rate(step: int, options: TrainOptions) -> float:
    """Learning rate of a step: a linear warm-up, then a cosine that would be 0 at step `options.steps`."""
    if step < options.warmup:
        return options.warmup_rate + (options.rate - options.warmup_rate) * step / options.warmup
    share = (step - options.warmup) / max(1, options.steps - options.warmup)
    return options.rate * (1 + math.cos(math.pi * share)) / 2
