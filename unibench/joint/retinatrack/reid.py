"""Offline re-identification: a frozen model looks at the crop of each object.

Reference: Lu et al., "RetinaTrack", CVPR 2020, section 4.3.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from unibench import cards, models

Embed = Callable[
    [UInt8[np.ndarray, "height width 3"], Float[np.ndarray, "object 4"]], Float[np.ndarray, "object dim"]
]
"""Image, boxes in its pixels -> embeddings."""


@lru_cache(maxsize=1)
def embedder(model: str, size: tuple[int, int]) -> Embed:
    """Load a frozen model that tells objects apart.

    Args:
        model: Name of its card, or the card's own path (`.toml`), beside which the weights may be. The default layer is
            averaged.
        size: Height and width of the crops that it sees, pixels.

    Raises:
        UnknownNameError: There is no such card.
        WeightsError: Its weights are missing or damaged.
    """
    path = Path(model)
    card, given = (cards.read(path), path.parent) if path.suffix == ".toml" else (cards.find(model), None)
    frozen, layer = models.load(card, given=given), card.default_layer

    def embed(
        image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"]
    ) -> Float[np.ndarray, "object dim"]:
        if not len(boxes):
            return np.zeros((0, 1))
        crops = [frozen.prepare(crop(image, box, size)) for box in boxes]
        maps = [frozen.network(one[None], [layer])[layer] for one in crops]
        pooled: np.ndarray = torch.cat(maps).mean(dim=(2, 3)).double().cpu().numpy()
        return pooled

    return embed


def crop(
    image: UInt8[np.ndarray, "height width 3"], box: Float[np.ndarray, " 4"], size: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Cut an object out and resize it, without regard to its aspect.

    Args:
        image: RGB, 0 to 255.
        box: xyxy, pixels; at least one pixel of the image is taken.
        size: Height and width of the result, pixels.
    """
    height, width = image.shape[:2]
    left, top = (
        int(np.clip(np.floor(low), 0, side - 1)) for low, side in zip(box[:2], (width, height), strict=True)
    )
    right = int(np.clip(np.ceil(box[2]), left + 1, width))
    bottom = int(np.clip(np.ceil(box[3]), top + 1, height))
    part = Image.fromarray(image[top:bottom, left:right])
    return np.asarray(part.resize((size[1], size[0]), Image.Resampling.BILINEAR))
