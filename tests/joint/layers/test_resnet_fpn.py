import pytest
import torch
from torch import nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from unibench.errors import UnknownNameError
from unibench.joint.layers import resnet_fpn
from unibench.joint.layers.resnet_fpn import Backbone, ConvNormAct, LevelNorm, normalise


def shapes(maps):
    return {name: tuple(value.shape) for name, value in maps.items()}


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet18", (128, 256, 512)),
        ("resnet34", (128, 256, 512)),
        ("resnet50", (512, 1024, 2048)),
        ("resnext50_32x4d", (512, 1024, 2048)),
        ("mobilenet_v2", (32, 96, 320)),
        ("tiny", (48, 64, 96)),
    ],
)
def test_maps_of_every_kind_of_network(name, widths):
    with torch.device("meta"):
        maps = Backbone(name)(torch.zeros(2, 3, 608, 1088))
    cells = {3: (76, 136), 4: (38, 68), 5: (19, 34), 6: (10, 17), 7: (5, 9)}
    assert shapes(maps) == {
        **{f"c{level}": (2, width, *cells[level]) for level, width in zip((3, 4, 5), widths, strict=True)},
        **{f"p{level}": (2, 256, *size) for level, size in cells.items()},
    }


@pytest.mark.parametrize("levels", [(2, 5), (3, 5), (3, 6), (4, 7)], ids=str)
def test_other_levels(levels):
    backbone = Backbone("tiny", channels=8, levels=levels).eval()
    maps = backbone(torch.zeros(1, 3, 128, 96))
    span = range(levels[0], levels[1] + 1)
    assert backbone.strides == tuple(2**level for level in span)
    assert sorted(maps) == ["c3", "c4", "c5", *(f"p{level}" for level in span)]
    for level in span:
        assert maps[f"p{level}"].shape == (1, 8, -(-128 // 2**level), -(-96 // 2**level))
    alone = backbone.pyramid(torch.zeros(1, 3, 128, 96))
    assert all(torch.equal(one, maps[f"p{level}"]) for one, level in zip(alone, span, strict=True))


def test_the_pyramid_is_torchvisions():
    """Same parameters under the same names, same maps."""
    theirs = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    ).eval()
    ours = Backbone("resnet18").eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, maps = theirs(images), ours(images)
    assert len(expected) == 5
    for level, value in enumerate(expected.values(), start=3):
        assert torch.equal(maps[f"p{level}"], value)


def test_images_are_normalised_by_imagenet():
    images = torch.tensor([124, 116, 104], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)
    expected = torch.tensor([0.325 / 58.395, -0.28 / 57.12, 0.47 / 57.375])[None, :, None, None]
    torch.testing.assert_close(normalise(images), expected.expand(1, 3, 2, 2))
    torch.testing.assert_close(normalise(images.float()), normalise(images))


def test_gradients_reach_every_parameter():
    backbone = Backbone("tiny", channels=8)
    maps = backbone.pyramid(torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)))
    sum(one.square().sum() for one in maps).backward()
    still = [name for name, one in backbone.named_parameters() if one.grad is None or not one.grad.any()]
    assert still == []


def test_an_unknown_network_is_named():
    with pytest.raises(UnknownNameError, match="no backbone 'resnet51'; did you mean 'resnet50'"):
        Backbone("resnet51")
    assert "tiny" in resnet_fpn.names()
    assert "vgg16" not in resnet_fpn.names()


def test_levels_keep_their_statistics_apart():
    norm = LevelNorm(4, levels=3, momentum=0.5)
    generator = torch.Generator().manual_seed(0)
    low, high = (
        torch.randn(8, 4, 5, 5, generator=generator),
        10 + 3 * torch.randn(8, 4, 6, 7, generator=generator),
    )
    for _ in range(20):
        norm(low, 0)
        norm(high, 2)
    means = [one.running_mean for one in norm.norms]
    torch.testing.assert_close(means[0], low.mean(dim=(0, 2, 3)), rtol=0, atol=1e-4)
    assert (means[1] == 0).all()  # never seen
    torch.testing.assert_close(means[2], high.mean(dim=(0, 2, 3)), rtol=0, atol=1e-4)
    norm.eval()
    assert norm(high, 2).mean().abs() < 1e-3
    assert norm(high, 0).mean() > 8
    assert norm.norms[0].weight is not norm.norms[2].weight


def test_levels_share_a_convolution_but_not_its_norm():
    block = ConvNormAct(6, 12, 3, levels=2, groups=3)
    assert isinstance(block.conv, nn.Conv2d)
    assert block.conv.weight.shape == (12, 2, 3, 3)
    assert block.conv.bias is None
    assert [name for name, _ in block.named_parameters()] == [
        "conv.weight", "norm.norms.0.weight", "norm.norms.0.bias", "norm.norms.1.weight", "norm.norms.1.bias",
    ]  # fmt: skip
    x = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    given = block(x, 1)
    assert given.shape == (2, 12, 5, 4)
    assert given.min() == 0
    expected = torch.relu(nn.functional.batch_norm(block.conv(x), None, None, training=True, eps=1e-3))
    torch.testing.assert_close(given, expected)
    with pytest.raises(IndexError, match="out of range"):
        block(x, 2)
