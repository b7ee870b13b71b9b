"""Put a whole frame into a canvas of fixed size, and boxes with it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.sparse import csr_array

GREY = 128
"""Colour of the border: JDE's 127.5, rounded as OpenCV rounds it."""


@dataclass(frozen=True)
class Letterbox:
    """Where a frame lies on the canvas. Pairs are (height, width) for sizes and (x, y) for points."""

    canvas: tuple[int, int]
    """Pixels."""
    inner: tuple[int, int]
    """Size of the resized frame on it, pixels."""
    corner: tuple[int, int]
    """Where the upper left corner of the resized frame lies, pixels."""
    scale: tuple[float, float]
    shift: tuple[float, float]
    """Point (x, y) of the frame -> scale * (x, y) + shift on the canvas."""
    drift: tuple[float, float] = (0.0, 0.0)
    """How far a box has moved when it is mapped to the canvas and back, pixels of the frame."""


def fit(frame: tuple[int, int], canvas: tuple[int, int], *, as_coded: bool = False) -> Letterbox:
    """Centre a frame on a canvas, as large as it fits, its aspect kept up to the rounding of its size.

    Args:
        frame: Height and width of the frame, pixels.
        canvas: Height and width of the canvas, pixels.
        as_coded: Map boxes as JDE's and UniTrack's code does: forth by the ratio and the margins before any
            rounding of the margins, back by those before any rounding at all. Off: boxes are mapped by what was
            really done to the pixels, so they stay on their objects to the sub-pixel and come back unmoved.
    """
    ratio = min(canvas[0] / frame[0], canvas[1] / frame[1])
    inner = (max(1, round(frame[0] * ratio)), max(1, round(frame[1] * ratio)))
    margin = ((canvas[1] - inner[1]) / 2, (canvas[0] - inner[0]) / 2)
    # Half a pixel of margin goes to the right and below.
    corner = (int(margin[0]), int(margin[1]))
    if not as_coded:
        scale = (inner[1] / frame[1], inner[0] / frame[0])
        return Letterbox(canvas, inner, corner, scale, (float(corner[0]), float(corner[1])))
    back = ((canvas[1] - frame[1] * ratio) / 2, (canvas[0] - frame[0] * ratio) / 2)
    drift = ((margin[0] - back[0]) / ratio, (margin[1] - back[1]) / ratio)
    return Letterbox(canvas, inner, corner, (ratio, ratio), margin, drift)


def paste(
    image: UInt8[np.ndarray, "height width 3"], letterbox: Letterbox
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Draw a frame on its canvas. A pixel is the mean of the area that it covers in the frame.

    Args:
        image: (height, width, 3) RGB, of the size that the letter-box was fitted to.
        letterbox: Where it goes.
    """
    canvas = np.full((*letterbox.canvas, 3), GREY, dtype=np.uint8)
    (rows, columns), (left, top) = letterbox.inner, letterbox.corner
    canvas[top : top + rows, left : left + columns] = _resize(image, rows, columns)
    return canvas


def place(boxes: Float[np.ndarray, "object 4"], letterbox: Letterbox) -> Float[np.ndarray, "object 4"]:
    """Boxes xyxy, pixels of the frame -> xyxy, pixels of the canvas."""
    return np.asarray(boxes * np.tile(letterbox.scale, 2) + np.tile(letterbox.shift, 2))


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
