"""OSNet and OSNet-AIN: torchreid's names, and its embedding as a mean of a map."""

import re

import pytest
import torch

from unibench.models import cards
from unibench.models.architectures.osnet import osnet, osnet_ain

X025 = (16, 64, 96, 128)


def seeded(build=osnet):
    torch.manual_seed(0)
    network = build(X025)
    for norm in network.modules():  # so that the batch norms do something
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return network.eval()


@torch.inference_mode()
def test_the_mean_of_the_embedding_map_rectified_is_torchreids_embedding():
    """torchreid pools the last map, then applies the linear layer, its batch norm and a ReLU."""
    network = seeded()
    maps = network(torch.randn(3, 3, 64, 32))
    pooled = network.fc(maps["conv5"].mean(dim=(2, 3))).relu()
    torch.testing.assert_close(maps["embedding"].mean(dim=(2, 3)).relu(), pooled)
    assert pooled.shape == (3, 512)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1.bn.weight", "conv1.bn.weight"),
        ("conv2.0.conv2.0.layers.0.conv1.weight", "conv2.0.conv2a.conv1.weight"),
        ("conv2.0.conv2.1.layers.1.bn.bias", "conv2.0.conv2b.1.bn.bias"),
        ("conv4.1.conv2.3.layers.3.conv2.weight", "conv4.1.conv2d.3.conv2.weight"),
        ("conv3.1.IN.weight", "conv3.1.IN.weight"),
        ("conv3.0.conv3.bn.weight", "conv3.0.conv3.bn.weight"),
        ("conv2.0.downsample.conv.weight", "conv2.0.downsample.conv.weight"),
        ("pool2.0.conv.weight", "conv2.2.0.conv.weight"),
        ("pool3.0.bn.running_var", "conv3.2.0.bn.running_var"),
        ("fc.0.bias", "fc.0.bias"),
    ],
)
def test_torchreids_names_become_ours(theirs, ours):
    """Those of torchreid's osnet_ain.py: streams in lists, and pools of their own."""
    name = theirs
    for pattern, replacement in cards.find("osnet-ain-x1.0-msmt17").weights.rename:
        name = re.sub(pattern, replacement, name)
    assert name == ours
    assert name in osnet_ain(X025).state_dict()


def test_instance_norms_are_where_the_paper_found_them():
    network = osnet_ain(X025)
    found = [name for name, one in network.named_modules() if isinstance(one, torch.nn.InstanceNorm2d)]
    assert found == ["conv1.bn", "conv2.0.IN", "conv2.1.IN", "conv3.1.IN", "conv4.0.IN"]
    assert not any(isinstance(one, torch.nn.InstanceNorm2d) for one in osnet(X025).modules())


@torch.inference_mode()
def test_instance_norms_undo_contrast_and_brightness():
    """What differs from one camera to another by a factor and an offset hardly changes the embedding."""
    images = torch.randn(2, 3, 64, 32)
    maps = [
        network(images * 3 + 1)["conv2"] - network(images)["conv2"]
        for network in (seeded(), seeded(osnet_ain))
    ]
    plain, normalised = (float(one.abs().mean()) for one in maps)
    assert normalised < 0.2 * plain
