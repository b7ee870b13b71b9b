"""Canvases of fixed size: where a frame lies on one, its pixels and its boxes there, and crops of its objects.

A frame lies either centred on its canvas (`letterbox`, as in JDE and UniTrack) or at the top left (`top_left`, as
the joint trackers place it). Sizes are (height, width), points (x, y), all in pixels.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from scipy.sparse import csr_array
from torch import Tensor

BORDER = (124, 116, 104)
"""Colour around a frame at the top left: ImageNet's mean, RGB, next to 0 for a network that normalises by it."""
GREY = 128
"""Colour around a centred frame: JDE's 127.5, rounded as OpenCV rounds it."""
Boxes = TypeVar("Boxes", np.ndarray, Tensor)


@dataclass(frozen=True)
class Placement:
    """Where a frame lies on a canvas: its point (x, y) becomes scale * (x, y) + shift there."""

    frame: tuple[int, int]
    """Size of the frame."""
    canvas: tuple[int, int]
    """Size of the canvas."""
    size: tuple[int, int]
    """Size of the resized frame on the canvas."""
    corner: tuple[int, int]
    """Pixel of the canvas at which the resized frame begins."""
    scale: tuple[float, float]
    shift: tuple[float, float]
    drift: tuple[float, float] = (0.0, 0.0)
    """How far a box moves when JDE's code maps it to the canvas and back, pixels of the frame."""


def letterbox(frame: tuple[int, int], canvas: tuple[int, int], *, as_coded: bool = False) -> Placement:
    """Centre a frame on a canvas, as large as it fits, its aspect kept up to the rounding of its size.

    Args:
        frame: Size of the frame.
        canvas: Size of the canvas.
        as_coded: Map boxes as JDE's and UniTrack's code does: to the canvas by the ratio and the margins before any
            rounding of the margins, back by those before any rounding at all. Off: boxes are mapped by what is really
            done to the pixels, so they stay on their objects to the sub-pixel and come back unmoved.
    """
    ratio = min(canvas[0] / frame[0], canvas[1] / frame[1])
    size = (max(1, round(frame[0] * ratio)), max(1, round(frame[1] * ratio)))
    margin = ((canvas[1] - size[1]) / 2, (canvas[0] - size[0]) / 2)
    # Half a pixel of margin goes to the right and below.
    corner = (int(margin[0]), int(margin[1]))
    if not as_coded:
        scale = (size[1] / frame[1], size[0] / frame[0])
        return Placement(frame, canvas, size, corner, scale, (float(corner[0]), float(corner[1])))
    back = ((canvas[1] - frame[1] * ratio) / 2, (canvas[0] - frame[0] * ratio) / 2)
    drift = ((margin[0] - back[0]) / ratio, (margin[1] - back[1]) / ratio)
    return Placement(frame, canvas, size, corner, (ratio, ratio), margin, drift)


def top_left(frame: tuple[int, int], canvas: tuple[int, int]) -> Placement:
    """Put a frame at the top left of a canvas, as large as it fits, its aspect kept.

    Args:
        frame: Size of the frame.
        canvas: Size of the canvas.
    """
    scale = min(canvas[0] / frame[0], canvas[1] / frame[1])
    factor = _factor(scale, frame)
    size = (min(int(frame[0] * factor), canvas[0]), min(int(frame[1] * factor), canvas[1]))
    return Placement(frame, canvas, size, (0, 0), (scale, scale), (0.0, 0.0))


def draw_letterbox(
    image: UInt8[np.ndarray, "height width 3"], placement: Placement
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Draw a frame on its canvas in `GREY`. A pixel is the mean of the area that it covers in the frame.

    Args:
        image: RGB, 0 to 255, of the size in `placement`.
        placement: From `letterbox`.
    """
    canvas = np.full((*placement.canvas, 3), GREY, dtype=np.uint8)
    (rows, columns), (left, top) = placement.size, placement.corner
    canvas[top : top + rows, left : left + columns] = _resize(image, rows, columns)
    return canvas


def draw_top_left(
    image: UInt8[np.ndarray, "height width 3"], scale: float, canvas: tuple[int, int]
) -> UInt8[Tensor, "3 rows columns"]:
    """Resize a frame by a factor and draw it at the top left of a canvas in `BORDER`; what stands out is cut off.

    Args:
        image: RGB, 0 to 255.
        scale: Above 0. It holds exactly: the frame's far edges may fall between two pixels.
        canvas: Size of the canvas.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    if scale != 1:
        factor = _factor(scale, (image.shape[0], image.shape[1]))
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bilinear", antialias=True)
    resized = pixels[0, :, : canvas[0], : canvas[1]]
    result = torch.tensor(BORDER, dtype=torch.uint8)[:, None, None].repeat(1, *canvas)
    result[:, : resized.shape[1], : resized.shape[2]] = resized
    return result


def to_canvas(boxes: Boxes, placement: Placement) -> Boxes:
    """Boxes xyxy, pixels of the frame -> xyxy, pixels of the canvas."""
    moved: Boxes = boxes * _twice(placement.scale, boxes) + _twice(placement.shift, boxes)
    return moved


def to_frame(boxes: Boxes, placement: Placement) -> Boxes:
    """Boxes xyxy, pixels of the canvas -> xyxy, pixels of the frame; not cut at its border."""
    moved: Boxes = (boxes - _twice(placement.shift, boxes)) / _twice(placement.scale, boxes)
    return moved


def crop(
    image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"], size: tuple[int, int]
) -> list[UInt8[np.ndarray, "rows columns 3"]]:
    """Cut objects out of an image, each resized whatever its aspect.

    Args:
        image: RGB, 0 to 255.
        boxes: xyxy, pixels; what lies outside the image is cut off, and at least one pixel is left.
        size: Size of every crop.
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


def _factor(scale: float, frame: tuple[int, int]) -> float:
    """The interpolation rounds the size down: a rounding error may not cost a pixel, and no side may vanish."""
    return 1.0 if scale == 1 else max(scale * (1 + 1e-9), 1 / min(frame))


def _twice(point: tuple[float, float], boxes: Boxes) -> Boxes:
    """(x, y) as (x, y, x, y), of the kind of the boxes."""
    return boxes.new_tensor(point * 2) if isinstance(boxes, Tensor) else np.array(point * 2)


def _resize(
    image: UInt8[np.ndarray, "height width 3"], rows: int, columns: int
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Mean over areas, like OpenCV's INTER_AREA; Pillow's BOX filter does not split pixels."""
    height, width = image.shape[:2]
    tall = _shares(height, rows) @ image.reshape(height, -1).astype(np.float32)
    wide = _shares(width, columns) @ tall.reshape(rows, width, 3).swapaxes(0, 1).reshape(width, -1)
    resized: np.ndarray = np.rint(wide).astype(np.uint8).reshape(columns, rows, 3).swapaxes(0, 1)
    return resized


def _shares(source: int, target: int) -> csr_array:
    """(target, source): the share that each old pixel has in each new one, along one axis."""
    edges = np.arange(target + 1) * (source / target)
    first = np.floor(edges[:-1]).astype(np.int64)
    most = int((np.ceil(edges[1:]) - first).max())
    old = first[:, None] + np.arange(most)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    shares = (np.maximum(overlap, 0) * (target / source)).astype(np.float32)
    places = np.minimum(old, source - 1)  # beyond the last pixel a share is 0
    return csr_array((shares.ravel(), places.ravel(), np.arange(target + 1) * most), shape=(target, source))
