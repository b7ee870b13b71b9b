"""Where an image lies on the canvas that a network sees: at the top left, resized with its aspect kept."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

BORDER = (124, 116, 104)
"""ImageNet's mean colour, RGB: next to 0 for a network that normalises by it."""
Boxes = TypeVar("Boxes", Tensor, np.ndarray)


@dataclass(frozen=True)
class View:
    """Point of the canvas = scale * point of the frame."""

    scale: float
    height: int
    """Of the frame, pixels."""
    width: int


def fit(height: int, width: int, canvas: tuple[int, int]) -> View:
    """The largest view of a frame that the canvas holds.

    Args:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        canvas: Its height and width, pixels.
    """
    return View(min(canvas[0] / height, canvas[1] / width), height, width)


def place(
    image: UInt8[np.ndarray, "height width 3"], canvas: tuple[int, int]
) -> tuple[UInt8[Tensor, "3 rows columns"], View]:
    """Resize a frame to fit a canvas and fill the rest, right and below, with `BORDER`.

    Args:
        image: RGB, 0 to 255.
        canvas: Its height and width, pixels.

    Returns:
        The canvas, and where the frame lies on it.
    """
    view = fit(image.shape[0], image.shape[1], canvas)
    return paste(image, view.scale, canvas), view


def paste(
    image: UInt8[np.ndarray, "height width 3"], scale: float, canvas: tuple[int, int]
) -> UInt8[Tensor, "3 rows columns"]:
    """Resize a frame by a factor and draw it at the top left of a canvas; what stands out is cut off.

    Args:
        image: RGB, 0 to 255.
        scale: Above 0. It holds exactly: the frame's far edges may fall between two pixels.
        canvas: Its height and width, pixels.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    if scale != 1:
        # The interpolation rounds the size down: a rounding error short of a whole pixel shall not cost that pixel,
        # and no side may vanish.
        factor = max(scale * (1 + 1e-9), 1 / min(image.shape[:2]))
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bilinear", antialias=True)
    held = pixels[0, :, : canvas[0], : canvas[1]]
    result = torch.tensor(BORDER, dtype=torch.uint8)[:, None, None].repeat(1, *canvas)
    result[:, : held.shape[1], : held.shape[2]] = held
    return result


def forth(boxes: Boxes, view: View) -> Boxes:
    """Boxes xyxy, pixels of the frame -> xyxy, pixels of the canvas."""
    return boxes * view.scale


def back(boxes: Boxes, view: View) -> Boxes:
    """Boxes xyxy, pixels of the canvas -> xyxy, pixels of the frame; not cut at its border."""
    return boxes / view.scale
