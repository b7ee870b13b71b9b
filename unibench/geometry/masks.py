"""Masks as COCO run-length encodings: a thin layer over pycocotools."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
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


def from_runs(counts: Sequence[int], size: tuple[int, int]) -> Rle | None:
    """Compress run lengths, off first, down the columns of an image of this height and width; None: they do not fit."""
    if any(run < 0 for run in counts) or sum(counts) != size[0] * size[1]:
        return None
    encoded: Rle = coco.frPyObjects({"size": [*size], "counts": [*counts]}, *size)
    return encoded


def from_text(counts: str, size: tuple[int, int]) -> Rle | None:
    """Take over compressed runs; None: they do not fit."""
    packed = counts.encode()
    return {"size": [*size], "counts": packed} if covers(packed, size[0] * size[1]) else None


def from_polygons(parts: Sequence[Float[np.ndarray, "_corner 2"]], size: tuple[int, int]) -> Rle:
    """Fill polygons as COCO does; their union is the mask.

    Args:
        parts: x and y of the corners of each, pixels; what lies outside the image is moved to its edge.
        size: Height and width of the image.
    """
    inside = [np.clip(part, 0, [size[1], size[0]]).ravel().tolist() for part in parts]
    encoded: Rle = coco.merge(coco.frPyObjects(inside, *size))
    return encoded


def covers(counts: bytes, pixels: int) -> bool:
    """Whether compressed runs are legal and add up to an image of so many pixels: pycocotools does not check them.

    A run is written in groups of five bits, low ones first, bit 6 telling that more follow; from the fourth
    run on it is the difference to the run before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for byte in counts:
        group = byte - 48
        if not 0 <= group < 64 or shift > 30:
            return False
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        if runs[-1] < 0:
            return False
        value = shift = 0
    return shift == 0 and sum(runs) == pixels


def flips(mask: Rle) -> Int[np.ndarray, " flip"]:
    """Where the mask goes on and off: the first pixel of each run, counted down the columns, without decoding.

    A pixel that is there twice changes nothing.

    Reference:
        pycocotools, maskApi.c, rleFrString: a character is 48 + 5 bits of a number, lowest first, + 32 if more
        follow; the top bit of the last is the sign. From the fourth on, numbers are differences from the last
        but one.
    """
    chunks = np.frombuffer(mask["counts"], dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(chunks < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = 5 * (np.arange(len(chunks)) - np.repeat(first, last - first + 1))
    lengths = np.add.reduceat((chunks & 31) << shifts, first) - ((chunks[last] & 16) << (shifts[last] + 1))
    lengths[1::2] = lengths[1::2].cumsum()
    lengths[2::2] = lengths[2::2].cumsum()
    ends: np.ndarray = lengths.cumsum()[:-1]
    return ends


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
