"""Frozen models that say what an object looks like, from a crop of it: teachers, and the second of two stages."""

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
from unibench.joint.system import TeacherOptions
from unibench.models import cards, frozen, weights
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel

CROPS = 64
"""Crops of one pass through the model."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen model that embeds what is in a box."""

    model: FrozenModel
    layer: str
    dim: int
    """Elements of an embedding."""
    options: TeacherOptions

    @cached_property
    def address(self) -> str:
        """Hash of everything that changes an embedding: model, weights, layer, crop."""
        return _address(self.model.fingerprint, self.layer, self.options)

    def embed(
        self, image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"]
    ) -> Float[np.ndarray, "object dim"]:
        """Embed objects of an image.

        Each object's crop is shown to the model alone; the layer's mean over it, rectified if the options say so, is
        scaled to length 1.

        Args:
            image: RGB, 0 to 255.
            boxes: xyxy, pixels.

        Returns:
            Float32; an object of which the layer says nothing at all has zeros.
        """
        crops = [self.model.prepare(one) for one in crop(image, boxes, self.options.size)]
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


def crop(
    image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"], size: tuple[int, int]
) -> list[UInt8[np.ndarray, "rows columns 3"]]:
    """Cut objects out of an image, each resized whatever its aspect.

    Args:
        image: RGB, 0 to 255.
        boxes: xyxy, pixels; what lies outside the image is cut off, and at least one pixel is seen.
        size: Height and width of every crop, pixels.
    """
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    cut = []
    for left, top, right, bottom in boxes.tolist():
        x, y = min(max(int(left), 0), width - 1), min(max(int(top), 0), height - 1)
        part = pixels[:, :, y : max(round(bottom), y + 1), x : max(round(right), x + 1)]
        resized = F.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)
        cut.append(resized[0].permute(1, 2, 0).numpy())
    return cut


def load(options: TeacherOptions, device: str = "cpu") -> Teacher:
    """Build the teacher that a config names.

    Args:
        options: Names its card.
        device: A torch device.

    Raises:
        UnknownNameError: There is no such card, or it has no such layer.
        WeightsError: Its weights are not here.
    """
    card, layer, given = _card(options)
    return Teacher(frozen.load(card, given=given, place=device), layer, card.layers[layer].channels, options)


def fingerprint(options: TeacherOptions) -> str:
    """Hash of everything that changes an embedding; nothing is built.

    Raises:
        UnknownNameError, WeightsError: As for `load`.
    """
    card, layer, given = _card(options)
    return _address(frozen.fingerprint(card, weights.locate(card, given)), layer, options)


def _card(options: TeacherOptions) -> tuple[Card, str, Path | None]:
    """The card, the layer, and where the weights are."""
    card = cards.find(options.card)
    layer = options.layer or card.default_layer
    if layer not in card.layers:
        raise UnknownNameError(f"layer of the teacher {card.name!r}", layer, card.layers)
    beside = Path(options.card).parent if options.card.endswith(".toml") else None
    return card, layer, Path(options.weights) if options.weights else beside


def _address(model: str, layer: str, options: TeacherOptions) -> str:
    parts = [model, layer, options.size, options.rectify]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
