"""The feature pyramid with group norms: the authors' maps."""

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.joint.known import arrays, close, fill
from unibench.joint.layers.pafpn import Pafpn, ResNet50


class Maps(nn.Module):
    """Stands for a backbone: gives maps that it is given."""

    widths = (32, 64, 128)

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        return images


def test_maps_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_pafpn_gn")
    network = fill(Pafpn(Maps(), depth=3, groups=int(known["gn_groups"])), gold, "unicorn_pafpn_gn")
    maps = network({"c3": known["s8"], "c4": known["s16"], "c5": known["s32"]})
    assert [*maps] == ["c3", "c4", "c5", "p3", "p4", "p5"]
    for name, stride in (("p3", 8), ("p4", 16), ("p5", 32)):
        close(maps[name], known[f"out{stride}"])
    assert {one.eps for one in network.modules() if isinstance(one, nn.GroupNorm)} == {known["gn_eps"].item()}


def test_a_residual_network_keeps_its_batch_norms_with_yolox_s_constants() -> None:
    with torch.device("meta"):
        network = ResNet50()
        maps = network(torch.zeros(1, 3, 64, 96))
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {(one.eps, one.momentum) for one in norms} == {(1e-3, 0.03)}
    assert {name: (one.shape[1], 64 // one.shape[2]) for name, one in maps.items()} == {
        "c3": (512, 8), "c4": (1024, 16), "c5": (2048, 32),
    }  # fmt: skip
