from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from unibench.joint.tdt import SYSTEM
from unibench.joint.training import config as configs

PAPER, TINY = configs.read("paper", SYSTEM), configs.read("tiny", SYSTEM)
BODY = 21_284_672
"""ResNet-34 without its classifier."""
FPN = (128 + 256 + 512) * 256 + 3 * 256 + 5 * (256 * 256 * 9 + 256)
"""Three lateral convolutions, three smoothing ones, two of stride 2, all with biases."""


def conv(inputs, outputs, levels=0):
    """Parameters of a 3x3 convolution with a bias, or with a batch norm for each level instead."""
    return inputs * outputs * 9 + (levels * 2 * outputs if levels else outputs)


def parameters(module):
    return sum(one.numel() for one in module.parameters())


def meta(config):
    with torch.device("meta"):
        return SYSTEM.build(config)


def tiny(seed=0):
    torch.manual_seed(seed)
    return SYSTEM.build(TINY)


@pytest.mark.parametrize("dim", [64, 128, 256, 512])
def test_the_papers_network_has_the_parameters_that_its_text_says(dim):
    """The paper prints no counts; these follow from its layers, for every D_s of Table 6."""
    network = meta(replace(PAPER, network=replace(PAPER.network, dim=dim)))
    tower = conv(256, 128, levels=5) + 3 * conv(128, 128, levels=5)
    heads = {
        "backbone": BODY + FPN,
        "classification": tower + conv(128, 9),
        "localisation": tower + conv(128, 9 * 4),
        "embedder": conv(256, 256, levels=5) + conv(256, 9 * dim),
    }
    assert {name: parameters(one) for name, one in network.named_children()} == heads
    assert parameters(network) == sum(heads.values())


def test_the_network_of_table_2_has_29_million_parameters():
    assert parameters(meta(PAPER)) == 29_249_645


@pytest.mark.parametrize(("size", "anchors"), [((608, 1088), 124_029), ((1088, 1920), 391_365)])
def test_on_the_papers_inputs_every_anchor_has_outputs(size, anchors):
    """Cells of the five levels, nine anchors each; 1080 rows are padded to 1088, the next multiple of 32."""
    with torch.device("meta"):
        outputs = SYSTEM.build(PAPER)(torch.empty(2, 3, *size))
    height, width = size
    cells = sum(-(-height // 2**level) * -(-width // 2**level) for level in range(3, 8))
    assert 9 * cells == anchors
    assert outputs.logits.shape == (2, anchors, 1)
    assert outputs.offsets.shape == (2, anchors, 4)
    assert outputs.anchors.shape == (anchors, 4)
    assert [one.shape[1] for one in outputs.hidden] == [256] * 5


def test_an_untrained_network_believes_in_nothing():
    scores = tiny().eval()(torch.full((1, 3, 128, 128), 100.0)).logits.sigmoid()
    torch.testing.assert_close(scores, torch.full_like(scores, TINY.network.prior), rtol=0.2, atol=0)


def test_embeddings_of_single_anchors_are_those_of_the_whole_second_convolution():
    network, anchors = tiny().eval(), TINY.anchors.count
    torch.nn.init.normal_(network.embedder.last.bias)
    outputs = network(torch.rand(2, 3, 72, 96) * 255)
    whole = [
        network.embedder.last(one).unflatten(1, (anchors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        for one in outputs.hidden
    ]
    dense = torch.cat(whole, dim=1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(2, (500,), generator=generator)
    rows = torch.randint(dense.shape[1], (500,), generator=generator)
    rows[:2] = torch.tensor([0, dense.shape[1] - 1])  # the corners
    torch.testing.assert_close(outputs.embeddings(images, rows), dense[images, rows])
    assert outputs.embeddings(images[:0], rows[:0]).shape == (0, TINY.network.dim)


def test_embeddings_of_single_anchors_have_the_gradients_of_the_whole():
    network = tiny().eval()
    hidden = torch.rand(1, TINY.network.embedder_channels, 5, 7, requires_grad=True)
    rows = torch.tensor([0, 8, 100])
    images = torch.zeros(3, dtype=torch.int64)
    sparse = torch.autograd.grad(network.embedder.at([hidden], images, rows).square().sum(), hidden)[0]
    maps = network.embedder.last(hidden).unflatten(1, (TINY.anchors.count, -1))
    dense = maps.permute(0, 3, 4, 1, 2).flatten(1, 3)[0, rows]
    torch.testing.assert_close(sparse, torch.autograd.grad(dense.square().sum(), hidden)[0])


def test_levels_share_convolutions_and_have_their_own_norms():
    network = tiny()
    norms = network.embedder.first.norm.norms
    assert len(norms) == 3
    assert len({id(one) for one in norms}) == 3
    maps = torch.rand(2, TINY.network.channels, 4, 4)
    network.embedder(maps, 0)
    assert float(norms[0].running_mean.abs().sum()) > 0
    assert float(norms[1].running_mean.abs().sum()) == 0


def test_the_backbone_alone_is_a_frozen_appearance_model():
    maps = SYSTEM.backbone(tiny().eval())(F.pad(torch.zeros(1, 3, 64, 64), (0, 0, 0, 0)))
    assert {"c3", "c4", "c5", "p3", "p4", "p5"} <= set(maps)
    assert maps["p3"].shape == (1, TINY.network.channels, 8, 8)
