"""Frozen models that embed objects by their crops: teachers of TDT, and re-identification as a second stage."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn import functional as F

from unibench.errors import UnknownNameError
from unibench.geometry import canvas
from unibench.joint.system import EmbedderOptions
from unibench.models import cards, frozen, weights
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel

CROPS = 64
"""Crops of one pass through the model."""


@dataclass(frozen=True, eq=False)
class Embedder:
    """A frozen model that embeds what is in a box."""

    model: FrozenModel
    layer: str
    dim: int
    """Elements of an embedding."""
    options: EmbedderOptions

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that changes an embedding: model, weights, layer, crop."""
        return _fingerprint(self.model.fingerprint, self.layer, self.options)

    def embed(
        self, image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"]
    ) -> Float[np.ndarray, "object dim"]:
        """Embed objects of an image.

        The model sees each object's crop alone; the layer's mean over it, rectified if the options say so, is scaled
        to length 1.

        Args:
            image: RGB, 0 to 255.
            boxes: xyxy, pixels.

        Returns:
            Float32, of length 1; an object whose mean is all zero keeps zeros.
        """
        crops = [self.model.prepare(one) for one in canvas.crop(image, boxes, self.options.size)]
        parts = [
            self.model.network(torch.stack(crops[start : start + CROPS]), [self.layer])[self.layer].mean(
                dim=(2, 3)
            )
            for start in range(0, len(crops), CROPS)
        ]
        if not parts:
            return np.zeros((0, self.dim), dtype=np.float32)
        means = torch.cat(parts).float()
        embeddings = F.normalize(means.clamp(min=0) if self.options.rectify else means)
        result: np.ndarray = embeddings.cpu().numpy()
        return result


def load(options: EmbedderOptions, device: str = "cpu") -> Embedder:
    """Build the embedder that a config names.

    Args:
        options: Names its card.
        device: A torch device.

    Raises:
        UnknownNameError: There is no such card, or it has no such layer.
        WeightsError: Its weights are not here.
    """
    card, layer, weights_path = _card(options)
    return Embedder(
        frozen.load(card, weights_path=weights_path, device=device),
        layer,
        card.layers[layer].channels,
        options,
    )


def fingerprint(options: EmbedderOptions) -> str:
    """Hash of everything that changes an embedding; nothing is built.

    Raises:
        UnknownNameError, WeightsError: As for `load`.
    """
    card, layer, weights_path = _card(options)
    return _fingerprint(frozen.fingerprint(card, weights.locate(card, weights_path)), layer, options)


def _card(options: EmbedderOptions) -> tuple[Card, str, Path | None]:
    """The card, the layer, and where the weights are."""
    card = cards.find(options.card)
    layer = options.layer or card.default_layer
    if layer not in card.layers:
        raise UnknownNameError(f"layer of the embedder {card.name!r}", layer, card.layers)
    beside = Path(options.card).parent if options.card.endswith(".toml") else None
    return card, layer, Path(options.weights) if options.weights else beside


def _fingerprint(model: str, layer: str, options: EmbedderOptions) -> str:
    parts = [model, layer, options.size, options.rectify]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
