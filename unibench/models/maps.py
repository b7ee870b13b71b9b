"""Feature maps, compared with what the card says of them, before any head sees them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unibench.errors import CardError, FeaturesError
from unibench.models.cards import Layer

if TYPE_CHECKING:
    from unibench.models.frozen import FrozenModel


@dataclass
class Count:
    """How many maps of one layer were computed, and how many of them hold one vector everywhere."""

    maps: int = 0
    constant: int = 0


def check(
    name: str, maps: object, layers: Mapping[str, Layer], asked: Sequence[str], images: Tensor
) -> dict[str, Tensor]:
    """Compare what a network returned with the card.

    Args:
        name: The model's, for messages.
        maps: What the network returned.
        layers: The card's layers.
        asked: Layers that were asked for.
        images: (batch, 3, height, width), what the network was shown.

    Returns:
        Layer -> (batch, channels, h, w) in float32, finite.

    Raises:
        CardError: A map is missing, is no map of floating-point numbers, or has other channels, another stride or
            another offset than the card says.
        FeaturesError: A map has values that are not finite, or so large that their squares are not.
    """
    if not isinstance(maps, Mapping) or not all(layer in maps for layer in asked):
        held = ", ".join(map(str, maps)) if isinstance(maps, Mapping) else type(maps).__name__
        raise CardError(f"model {name!r}: the network returns {held}, expected the maps {', '.join(asked)}; correct "
                        "the nodes of [layers] in the card")  # fmt: skip
    return {
        layer: _checked(f"model {name!r}, layer {layer!r}", maps[layer], layers[layer], images)
        for layer in asked
    }


def _checked(where: str, features: object, rule: Layer, images: Tensor) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim != 4 or len(features) != len(images):
        found = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise CardError(
            f"{where}: found {found}, expected a map (batch, channels, h, w); correct the node in the card"
        )
    if not features.is_floating_point():
        raise CardError(
            f"{where}: a map of {features.dtype}, expected floating-point numbers; correct the network"
        )
    if problem := _geometry(features, rule, images.shape[-2:]):
        raise CardError(f"{where}: {problem}; correct [layers] in the card")
    features = features.float()
    if not features.is_meta and not math.isfinite(float(torch.linalg.vector_norm(features))):
        finite = bool(features.isfinite().all())
        found = (
            f"values up to {float(features.abs().max()):.0e}, whose squares overflow"
            if finite
            else "not finite"
        )
        raise FeaturesError(f"{where}: the map is {found}, expected finite numbers of ordinary size; check the "
                            "weights, the preprocessing on the card and --dtype")  # fmt: skip
    return features


def _geometry(features: Tensor, rule: Layer, image: Sequence[int]) -> str:
    """How a map differs from what the card says of it; empty: it does not."""
    if features.shape[1] != rule.channels:
        return f"{features.shape[1]} channels, expected {rule.channels} as the card says"
    for axis, length, cells in zip(("height", "width"), image, features.shape[-2:], strict=True):
        # A network without padding has no cells centred on the border: its offset says how wide that is.
        least = (length - 2 * max(rule.offset, 0.0)) / rule.stride - 1
        if not least <= cells <= length / rule.stride + 1:
            measured = f"about {length / cells:.3g}" if cells else "none"
            return (f"{cells} cells along a {axis} of {length} pixels (a stride of {measured}), expected stride "
                    f"{rule.stride} as the card says")  # fmt: skip
        last = rule.offset + rule.stride * (cells - 1)
        if rule.offset < -rule.stride or last > length - 1 + rule.stride:
            return f"offset {rule.offset:g} puts the cells outside the image along its {axis}, expected within it"
    return ""


def constant(features: Tensor) -> bool:
    """Whether a map (channels, h, w) holds one vector everywhere, so that it says nothing of the image."""
    if features.shape[-1] * features.shape[-2] < 2:
        return False
    first, height, width = features[:, :1, :1], *features.shape[-2:]
    some = torch.stack([features[:, height // 2, width // 2], features[:, -1, -1], features[:, 0, -1]])
    if not bool((some == first[:, 0, 0]).all()):  # nearly always: no look at the whole map
        return False
    return bool((features == first).all())


def counted(model: "FrozenModel", counts: dict[str, Count]) -> "FrozenModel":
    """Let a model count its constant maps.

    Args:
        model: The model.
        counts: Layer -> its count; is written to while the model runs.

    Returns:
        The same model.
    """

    def network(images: Tensor, layers: Sequence[str], *slot: int) -> dict[str, Tensor]:
        maps = model.network(images, layers, *slot)
        for layer, features in maps.items():
            count = counts.setdefault(layer, Count())
            count.maps += len(features)
            count.constant += sum(map(constant, features))
        return maps

    return replace(model, network=network)


def warning(counts: Mapping[str, Count]) -> str:
    """Say what is suspicious of a clip's maps; empty: nothing."""
    flat = {layer: one for layer, one in counts.items() if one.constant}
    return "; ".join(
        f"{layer}: {one.constant} of {one.maps} feature maps are constant" for layer, one in flat.items()
    )
