"""The small config, and a network of it whose boxes and words are not those of a network that has learnt nothing."""

from typing import Any

import torch
from torch import nn

from unibench.joint import systems
from unibench.joint.training import config as configs
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Trivd

SYSTEM = systems.find("trivd")
TINY: TrivdConfig = configs.read("tiny", SYSTEM)


def network_of(config: TrivdConfig = TINY, **parts: Any) -> Trivd:
    """Build it from one seed; parts take the place of its own."""
    torch.manual_seed(0)
    network = Trivd(config)
    for name, one in network.named_parameters():
        if "bbox_embed" in name or "sampling_offsets" in name or "temporal" in name:
            nn.init.normal_(one, std=0.1)
    for name, part in parts.items():
        setattr(network, name, part)
    return network
