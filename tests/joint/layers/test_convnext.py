"""ConvNeXt: the authors' maps."""

from pathlib import Path

import torch

from tests.joint.known import arrays, close, fill
from unibench.joint.layers.convnext import Block, ConvNeXt


def test_maps_are_those_of_the_authors_code(gold: Path) -> None:
    network = fill(ConvNeXt((1, 1, 2, 1), (8, 16, 32, 64)), gold, "unicorn_convnext")
    known = arrays(gold, "unicorn_convnext")
    maps = network(known["image"])
    for name, stride in (("c3", 8), ("c4", 16), ("c5", 32)):
        close(maps[name], known[f"s{stride}"])


def test_drop_path_rises_from_the_first_block_to_the_last_and_acts_in_training_only() -> None:
    network = ConvNeXt((1, 1, 2, 1), (8, 16, 32, 64), drop_path=0.4)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    torch.testing.assert_close(rates, [0.0, 0.1, 0.2, 0.3, 0.4])
    image = torch.rand(4, 3, 32, 32)
    torch.manual_seed(0)
    assert not torch.equal(network(image)["c5"], network(image)["c5"])
    network.eval()
    assert torch.equal(network(image)["c5"], network(image)["c5"])
