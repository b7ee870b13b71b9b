"""A card becomes a frozen model: images in, feature maps of named layers out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """An appearance model that no head may change.

    Cell (row, column) of a layer's map is centred on pixel (offset + stride * column, offset + stride * row).
    """

    name: str
    prepare: Callable[[UInt8[np.ndarray, "height width 3"]], Float[Tensor, "3 height width"]]
    """RGB 0-255 image -> the network's own normalised input, on its device; 0 is the mean colour."""
    network: Callable[
        [Float[Tensor, "batch 3 height width"], Sequence[str]], dict[str, Float[Tensor, "batch channel h w"]]
    ]
    """Prepared images and layer names -> one map a layer, all from one pass, without gradients."""
    strides: Mapping[str, int]
    """Layer -> pixels of the input per feature cell."""
    offsets: Mapping[str, float]
    """Layer -> pixel on which cell 0 is centred (0 for ResNets, (patch - 1) / 2 for ViTs)."""
    device: torch.device
