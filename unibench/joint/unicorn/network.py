"""Unicorn's network: one backbone, one comparison of two frames, one head. Tensors are named as in the official files.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.data.sampling import STEP
from unibench.joint.layers.convnext import ConvNeXt
from unibench.joint.layers.pafpn import Pafpn, ResNet50
from unibench.joint.unicorn.config import NetworkOptions, UnicornConfig
from unibench.joint.unicorn.head import Head, Outputs
from unibench.joint.unicorn.interaction import Interaction, Positions, propagate

MASKS = ("head.mask_head.", "head.mask_branch.", "head.controllers.")
"""Beginnings of names of tensors that a network without masks leaves out of a file."""


@dataclass(frozen=True, eq=False)
class Pair:
    """What the network says of pairs of frames, the second of each above all."""

    reference: Float[Tensor, "clip dim h w"]
    """Embeddings of the first frame's cells."""
    current: Float[Tensor, "clip dim h w"]
    prior: Float[Tensor, "clip h w"] | None
    """Where the prompted object probably is; None: there is no prompt."""
    prompted: Outputs | None
    found: Outputs | None
    """All objects; None: they are not asked for."""
    mask_features: tuple[Tensor, Tensor] | None


GREY = 114
"""Around a frame on its canvas."""
COCO = {
    "pedestrian": 0,
    "rider": 0,
    "bicycle": 1,
    "car": 2,
    "motorcycle": 3,
    "bus": 5,
    "train": 6,
    "truck": 7,
}
"""Class -> which of COCO's 80 it starts as, in the authors' code."""


class Unicorn(nn.Module):
    """The whole network.

    `inherits` and `chosen` say what it takes of a detector of COCO's objects, which the authors start from.
    """

    def __init__(self, config: UnicornConfig) -> None:
        super().__init__()
        options = config.network
        self.options = options
        self.inherits = {f"head.{one}_preds_sot.": f"head.{one}_preds." for one in ("obj", "reg")}
        rows = [COCO[name] for name in config.classes if name in COCO]
        self.chosen = {"head.cls_preds.": (80, rows)} if len(rows) == len(config.classes) else {}
        self.backbone = Pafpn(_backbone(options), depth=options.pyramid_depth, groups=options.groups)
        self.head = Head(options, self.backbone.widths, len(config.classes))
        channels = options.interaction_channels
        self.bottleneck = nn.Sequential(
            nn.Conv2d(self.backbone.widths[1], channels, 1),
            nn.GroupNorm(options.interaction_groups, channels),
        )
        self.upsample_layer = nn.Sequential(
            nn.PixelShuffle(2),
            nn.Conv2d(channels // 4, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, options.embedding, 3, padding=1),
        )
        if options.interaction:
            self.pos_emb = Positions(channels, options.positions)
            self.transformer = Interaction(options)

    def look(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Images, RGB 0 to 255 -> `c3` to `c5` of the backbone, `p3` to `p5` of the pyramid."""
        found: dict[str, Tensor] = self.backbone(images.flip(1))  # the official networks read BGR
        return found

    def embed(
        self, reference: Float[Tensor, "batch channel h w"], current: Float[Tensor, "batch channel h w"]
    ) -> tuple[Tensor, Tensor]:
        """`c4` of two frames -> embeddings of the cells of each, at stride 8, in single precision."""
        with torch.autocast(reference.device.type, enabled=False):
            first, second = self.bottleneck(reference.float()), self.bottleneck(current.float())
            if self.options.interaction:
                first, second = self.transformer(first, second, self.pos_emb(*first.shape[2:]))
            return self.upsample_layer(first), self.upsample_layer(second)

    def forward(
        self,
        images: Float[Tensor, "clip 2 3 height width"],
        labels: Float[Tensor, "clip h w"] | None,
        *,
        all_objects: bool,
        masks: bool,
    ) -> Pair:
        """Compare pairs of frames and look for objects in the second of each.

        Args:
            images: RGB, 0 to 255.
            labels: Of the prompted object in the first frame, at stride 8; None: there is none.
            all_objects: Whether all objects are looked for as well.
            masks: Whether masks are asked for.
        """
        clips = len(images)
        maps = self.look(images.transpose(0, 1).flatten(0, 1))
        reference, current = self.embed(maps["c4"][:clips], maps["c4"][clips:])
        second = {name: one[clips:] for name, one in maps.items()}
        prior, prompted = None, None
        if labels is not None:
            with torch.autocast(images.device.type, enabled=False):
                rows = zip(reference, current, labels[:, None], strict=True)
                prior = torch.cat([propagate(*row) for row in rows])
            prompted = self.find(second, prior, masks=masks)
        return Pair(
            reference,
            current,
            prior,
            prompted,
            self.head(second, None, "mot", masks=masks) if all_objects else None,
            self.head.mask_features(second) if masks else None,
        )

    def find(
        self, maps: dict[str, Tensor], prior: Float[Tensor, "object h w"], *, masks: bool = False
    ) -> Outputs:
        """Look for prompted objects: one image for all of them, or one each."""
        count = len(prior)
        repeated = {name: maps[name].expand(count, -1, -1, -1) for name in ("p3", "p4", "p5")}
        outputs: Outputs = self.head(repeated, prior if self.options.prior else None, "sot", masks=masks)
        return outputs


class Frozen(nn.Module):
    """Backbone and pyramid alone, for images of any size: they are padded in grey, as frames are on their canvas."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone = network.get_submodule("backbone")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> dict[str, Tensor]:
        """Images, BGR 0 to 255 -> `c3` to `c5`, `p3` to `p5`."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % STEP, 0, -height % STEP), value=GREY)
        maps: dict[str, Tensor] = self.backbone(padded)
        strides = {name: padded.shape[2] // one.shape[2] for name, one in maps.items()}
        return {
            name: one[:, :, : -(-height // strides[name]), : -(-width // strides[name])]
            for name, one in maps.items()
        }


def _backbone(options: NetworkOptions) -> ConvNeXt | ResNet50:
    if options.backbone == "resnet50":
        return ResNet50()
    return ConvNeXt(options.depths, options.widths, drop_path=options.drop_path)
