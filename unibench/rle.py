"""Masks as COCO run-length encodings: a thin layer over pycocotools."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco

from unibench.records import Rle


def encode(mask: Bool[np.ndarray, "height width"]) -> Rle:
    """Encode one mask.

    Args:
        mask: (height, width), True on the object.
    """
    encoded: Rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"]}


def decode(mask: Rle) -> Bool[np.ndarray, "height width"]:
    """Decode one mask: (height, width), True on the object."""
    decoded: np.ndarray = coco.decode(mask)
    return decoded.astype(bool)


def area(mask: Rle) -> int:
    """Number of pixels on the object."""
    return int(coco.area(mask))


def box(mask: Rle) -> Float[np.ndarray, " 4"]:
    """Tight box of the mask: (4) xyxy, pixels, the right and lower edge exclusive; zeros for an empty mask."""
    x, y, width, height = coco.toBbox(mask)
    return np.array([x, y, x + width, y + height], dtype=np.float64)


def iou(
    first: Sequence[Rle], second: Sequence[Rle], *, over_first: bool = False
) -> Float[np.ndarray, "first second"]:
    """Intersection over union of every pair; with `over_first`, intersection over the area of the first mask."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(coco.iou(list(first), list(second), [int(over_first)] * len(second)), dtype=np.float64)


def box_iou(
    first: Float[np.ndarray, "first 4"], second: Float[np.ndarray, "second 4"], *, over_first: bool = False
) -> Float[np.ndarray, "first second"]:
    """The same for boxes: xyxy, any unit."""
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    return np.asarray(
        coco.iou(_xywh(first), _xywh(second), [int(over_first)] * len(second)), dtype=np.float64
    )


def _xywh(boxes: Float[np.ndarray, "object 4"]) -> Float[np.ndarray, "object 4"]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
