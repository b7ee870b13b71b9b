"""YOLOX's path-aggregating feature pyramid with group norms; tensors are named as in Unicorn's code."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter

from unibench.joint.layers.convnext import ConvNeXt

EPSILON = 1e-3
"""Of norms that Unicorn makes of YOLOX's batch norms: these have it, and it is kept."""
MOMENTUM = 0.03
"""Of YOLOX's batch norms, which a residual network keeps."""


class ResNet50(IntermediateLayerGetter):  # type: ignore[misc]
    """torchvision's ResNet-50, which gives `c3`, `c4`, `c5`."""

    def __init__(self) -> None:
        network = resnet50()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = EPSILON, MOMENTUM
        super().__init__(network, {"layer2": "c3", "layer3": "c4", "layer4": "c5"})
        self.widths = (512, 1024, 2048)


class ConvNorm(nn.Module):
    """Convolution without bias, group norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, groups: int, stride: int = 1) -> None:
        """Build it.

        Args:
            inputs: Channels.
            outputs: Channels, a multiple of the groups.
            kernel: Side, odd.
            groups: Of the norm.
            stride: Of the convolution.
        """
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.GroupNorm(groups, outputs, eps=EPSILON)  # so called in the official files

    def forward(self, x: Float[Tensor, "batch channel h w"]) -> Tensor:
        """The map after convolution, norm and activation."""
        return F.silu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, without a shortcut."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 1, groups=groups)
        self.conv2 = ConvNorm(channels, channels, 3, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """The map after both."""
        result: Tensor = self.conv2(self.conv1(x))
        return result


class CrossStage(nn.Module):
    """Half of the channels passes some bottlenecks, the other half passes them by; a 1x1 convolution joins them."""

    def __init__(self, inputs: int, outputs: int, *, depth: int, groups: int) -> None:
        """Build it.

        Args:
            inputs: Channels.
            outputs: Channels.
            depth: Number of bottlenecks.
            groups: Of the norms.
        """
        super().__init__()
        hidden = outputs // 2
        self.conv1 = ConvNorm(inputs, hidden, 1, groups=groups)
        self.conv2 = ConvNorm(inputs, hidden, 1, groups=groups)
        self.conv3 = ConvNorm(2 * hidden, outputs, 1, groups=groups)
        self.m = nn.Sequential(*(Bottleneck(hidden, groups=groups) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """The joined map."""
        result: Tensor = self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], dim=1))
        return result


class Pafpn(nn.Module):
    """A backbone whose maps are merged from coarse to fine and back; strides 8, 16, 32 keep their channels.

    Reference:
        Ge et al., "YOLOX", 2021; Yan et al., "Unicorn", ECCV 2022, section 3.2.
    """

    def __init__(self, backbone: ConvNeXt | ResNet50, *, depth: int, groups: int) -> None:
        """Build it with random parameters.

        Args:
            backbone: Gives `c3`, `c4`, `c5`.
            depth: Bottlenecks of each merge.
            groups: Of the norms.
        """
        super().__init__()
        fine, middle, coarse = self.widths = backbone.widths
        self.backbone = backbone

        def merge(inputs: int, outputs: int) -> CrossStage:
            return CrossStage(inputs, outputs, depth=depth, groups=groups)

        self.lateral_conv0 = ConvNorm(coarse, middle, 1, groups=groups)
        self.C3_p4 = merge(2 * middle, middle)
        self.reduce_conv1 = ConvNorm(middle, fine, 1, groups=groups)
        self.C3_p3 = merge(2 * fine, fine)
        self.bu_conv2 = ConvNorm(fine, fine, 3, groups=groups, stride=2)
        self.C3_n3 = merge(2 * fine, middle)
        self.bu_conv1 = ConvNorm(middle, middle, 3, groups=groups, stride=2)
        self.C3_n4 = merge(2 * middle, coarse)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Images of sides divisible by 32 -> `c3`, `c4`, `c5` of the backbone, `p3`, `p4`, `p5` of the pyramid."""
        maps = self.backbone(images)
        return {**maps, **self.pyramid(maps)}

    def pyramid(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Merge the backbone's maps."""
        lateral = self.lateral_conv0(maps["c5"])
        middle = self.C3_p4(torch.cat([F.interpolate(lateral, scale_factor=2), maps["c4"]], dim=1))
        reduced = self.reduce_conv1(middle)
        p3 = self.C3_p3(torch.cat([F.interpolate(reduced, scale_factor=2), maps["c3"]], dim=1))
        p4 = self.C3_n3(torch.cat([self.bu_conv2(p3), reduced], dim=1))
        p5 = self.C3_n4(torch.cat([self.bu_conv1(p4), lateral], dim=1))
        return {"p3": p3, "p4": p4, "p5": p5}
