"""CondInst's masks: convolutions whose parameters the network makes for each object; tensors as in Unicorn's code."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 8
"""Of the features that masks are made of, and between the dynamic convolutions."""
SPLIT = ((CHANNELS + 2) * CHANNELS, CHANNELS * CHANNELS, CHANNELS, CHANNELS, CHANNELS, 1)
"""Parameters of an object: three weights, three biases."""
PARAMETERS = sum(SPLIT)
STRIDE = 8
"""Of the features, pixels."""
UP = 4
"""Learnt up-sampling: from stride 8 to stride 2."""


def aligned_bilinear(x: Float[Tensor, "batch channel h w"], factor: int) -> Tensor:
    """Up-sample so that cell 0 of the result is centred where cell 0 of the input is.

    Args:
        x: Any maps.
        factor: Whole, at least 1.

    Returns:
        (batch, channel, factor h, factor w).

    Reference:
        Tian et al., "CondInst", ECCV 2020; AdelaiDet's `aligned_bilinear`.
    """
    if factor == 1:
        return x
    height, width = (factor * side for side in x.shape[2:])
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, size=(height + 1, width + 1), mode="bilinear", align_corners=True)
    x = F.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, :height, :width]


def convex_upsample(
    x: Float[Tensor, "object h w"], weights: Float[Tensor, "weight h w"]
) -> Float[Tensor, "object rows columns"]:
    """Up-sample by `UP`: each fine cell is a convex combination of the 3x3 coarse cells around it.

    Args:
        x: Logits.
        weights: 9 logits for each of the 16 fine cells of a cell; all objects share them.

    Returns:
        (object, 4 h, 4 w); beyond the border is 0.

    Reference:
        Teed and Deng, "RAFT", ECCV 2020, section 3.3.
    """
    count, h, w = x.shape
    shares = weights.view(9, UP, UP, h, w).softmax(dim=0)
    around = F.unfold(x[:, None], 3, padding=1).view(count, 9, h, w)
    fine = torch.einsum("kyxhw,nkhw->nhywx", shares, around)
    return fine.reshape(count, UP * h, UP * w)


class MaskBranch(nn.Module):
    """Merges the pyramid to the features that every object's mask is made of."""

    def __init__(self, widths: tuple[int, int, int], channels: int, *, groups: int, eps: float) -> None:
        """Build it.

        Args:
            widths: Channels of p3, p4, p5.
            channels: Inside the branch.
            groups: Of its norms.
            eps: Of its norms.
        """
        super().__init__()

        def block(inputs: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            return nn.Sequential(conv, nn.GroupNorm(groups, channels, eps=eps), nn.ReLU(inplace=True))

        self.refine = nn.ModuleList(block(width) for width in widths)
        self.tower = nn.Sequential(*(block(channels) for _ in range(4)), nn.Conv2d(channels, CHANNELS, 1))
        self.up_mask_layer = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 9 * UP * UP, 1),
        )

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """p3, p4, p5 -> features (batch, 8, h, w) and up-sampling weights (batch, 144, h, w) at stride 8."""
        levels = zip(self.refine, maps, (1, 2, 4), strict=True)
        merged = torch.stack([aligned_bilinear(refine(one), factor) for refine, one, factor in levels]).sum(
            dim=0
        )
        return self.tower(merged), self.up_mask_layer(merged)


class MaskHead(nn.Module):
    """Three 1x1 convolutions whose parameters each object brings. It learns nothing itself.

    Its buffers stand in the official files; of the sizes of interest the first three are used.
    """

    sizes_of_interest: Tensor
    _iter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sizes_of_interest", torch.tensor([64, 128, 256, 512, 1024]))
        self.register_buffer("_iter", torch.zeros(1))

    def forward(
        self,
        features: Float[Tensor, "8 h w"],
        parameters: Float[Tensor, "object 169"],
        locations: Float[Tensor, "object 2"],
        levels: Int[Tensor, " object"],
    ) -> Float[Tensor, "object h w"]:
        """Logits at stride 8 of the objects of one image.

        Args:
            features: Of the image.
            parameters: Of each object.
            locations: x, y of the cell that each object was found in, pixels.
            levels: Level of that cell: 0, 1, 2.
        """
        count, (h, w) = len(parameters), features.shape[1:]
        y, x = (torch.arange(cells, device=features.device) * STRIDE + STRIDE // 2 for cells in (h, w))
        pixels = torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).flatten(1)
        sizes = self.sizes_of_interest[levels].to(features.dtype)
        relative = (locations[:, :, None] - pixels) / sizes[:, None, None]
        hidden = torch.cat([relative, features.flatten(1).expand(count, -1, -1)], dim=1)
        parts = torch.split(parameters, list(SPLIT), dim=1)
        for index, (weight, bias) in enumerate(zip(parts[:3], parts[3:], strict=True)):
            hidden = weight.view(count, bias.shape[1], -1) @ hidden + bias[:, :, None]
            hidden = hidden.relu() if index < 2 else hidden
        return hidden.view(count, h, w)
