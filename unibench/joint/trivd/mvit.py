"""MViTv2 as a backbone for images of any size; tensors are named as in timm, after `body.`.

Reference: Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and Detection", CVPR 2022.
"""

from jaxtyping import Float
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from unibench.joint.trivd.config import NORMALISED, BackboneOptions

LEVELS = ("c3", "c4", "c5")
STAGES = [1, 2, 3]
"""Whose maps they are."""
PATCH = 4
"""Stride of the first stage, pixels."""


class Mvit(nn.Module):
    """Maps of strides 8, 16 and 32. Tables of relative positions are stretched to the image, as its authors do."""

    def __init__(self, options: BackboneOptions) -> None:
        """Build it with random parameters.

        Args:
            options: Sizes.
        """
        super().__init__()
        made = MultiScaleVitCfg(depths=options.depths, embed_dim=options.widths, num_heads=options.heads)
        self.body = _Body(
            made, img_size=(options.image, options.image), num_classes=0, drop_path_rate=options.drop_path
        )
        if options.early_convolutions:
            self.body.patch_embed.register_module("proj", _early_convolutions(options.widths[0]))
        self.body.prune_intermediate_layers(STAGES, prune_norm=True)
        self.widths = options.widths[1:]

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Images, normalised -> `c3` to `c5`; each has half of the rows and columns of the one before, rounded up."""
        tables = self._tables(images.shape[2], images.shape[3])
        return dict(zip(LEVELS, functional_call(self.body, tables, (images,)), strict=True))

    def _tables(self, height: int, width: int) -> dict[str, Tensor]:
        """Tables of relative positions, by name, as long as the maps of an image need them."""
        tables, sizes = {}, {"rel_pos_h": -(-height // PATCH), "rel_pos_w": -(-width // PATCH)}
        for name, attention in self.body.named_modules():
            if not hasattr(attention, "rel_pos_h"):
                continue
            for axis, side in sizes.items():
                queries, keys = (
                    -(-side // (pool.stride[0] if pool else 1))
                    for pool in (attention.pool_q, attention.pool_k)
                )
                table, length = getattr(attention, axis), 2 * max(queries, keys) - 1
                if len(table) != length:
                    stretched = F.interpolate(table.T[None], size=length, mode="linear")[0].T
                    tables[f"{name}.{axis}"] = stretched
                sizes[axis] = queries
        return tables


def _early_convolutions(width: int) -> nn.Sequential:
    """From an image to the first stage's patches of 4 x 4 pixels."""
    half = width // 2
    layers: list[nn.Module] = []
    for channels, wider, stride in ((3, half, 2), (half, half, 1), (half, width, 2)):
        layers += [
            nn.Conv2d(channels, wider, 3, stride, 1, bias=False),
            nn.GroupNorm(NORMALISED, wider),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 3, 1, 1))


class _Body(MultiScaleVit):
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        maps = self.forward_intermediates(images, indices=STAGES, intermediates_only=True)
        assert isinstance(maps, list)
        return maps
