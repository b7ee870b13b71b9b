"""The networks of the zoo: how a card builds each, and which map the objectives see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unibench.models.cards import Architecture, Layer, Preprocessing

PREPROCESSING = Preprocessing("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Network:
    """What a card says of a network."""

    architecture: Architecture
    layers: Mapping[str, Layer]
    """The last one is what the objectives see, and the card's default."""


NETWORKS = {
    "resnet": Network(
        Architecture(
            "python",
            "unibench.models.architectures.small_resnet:small_resnet",
            options={"channels": [32, 48, 96]},
        ),
        {
            "layer1": Layer("layer1", stride=4, channels=32),
            "layer2": Layer("layer2", stride=8, channels=48),
            "layer3": Layer("layer3", stride=8, channels=96),
        },
    ),
    "vit": Network(
        Architecture(
            "timm",
            "vit_tiny_patch16_224",
            options={
                "img_size": 96,
                "patch_size": 8,
                "embed_dim": 64,
                "depth": 4,
                "num_heads": 4,
                "num_classes": 0,
                "dynamic_img_size": True,
                "dynamic_img_pad": True,
            },
        ),
        {
            f"block{number}": Layer(number - 1, stride=8, offset=3.5, channels=64, norm=True)
            for number in (2, 4)
        },
    ),
}


class Trunk(nn.Module):
    """A network of which only the last map is seen."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels = channels

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Compute the last map."""
        backbone: Any = self.backbone
        if hasattr(backbone, "forward_intermediates"):  # timm's ViT
            (last,) = backbone.forward_intermediates(
                images, indices=1, norm=True, intermediates_only=True, output_fmt="NCHW"
            )
        else:
            last = list(backbone(images).values())[-1]
        found: Tensor = last
        return found
