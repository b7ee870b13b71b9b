"""Clips made of stills: objects that are cut out of one still move over another, each its own way.

They cross what is there and each other, and leave. So it can be learnt who is who among objects of which nobody has
annotated more than their outlines.

Reference: Wang et al., "VideoCutLER: Surprisingly Simple Unsupervised Video Instance Segmentation", CVPR 2024, whose
clips for training are made in this way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, UInt8
from msgspec import Meta

from unibench.geometry import masks
from unibench.joint.ranges import Share
from unibench.joint.system import AnnotatedImage
from unibench.records import Labels

EXACT = 1.0
"""Pixels by which the box of an object that is seen as a whole may differ from that of its mask."""
_WHY = "sample.cutouts.most is not 0", "0"


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object that was cut out of a still, and its way."""

    pixels: UInt8[np.ndarray, "rows columns 3"]
    mask: Bool[np.ndarray, "rows columns"]
    kind: int
    start: Float[np.ndarray, " 2"]
    """Of its left top corner in the first frame: x, y in pixels."""
    step: Float[np.ndarray, " 2"]
    """From frame to frame."""
    there: Bool[np.ndarray, " frame"]
    """Whether it is to be seen in each frame."""


@dataclass(frozen=True)
class CutoutOptions:
    """What moves over a still."""

    most: Annotated[int, Meta(ge=0, le=100)] = 0
    """Objects of another still, at the most; with 0 nothing moves over a still, and no masks are needed."""
    shift: Share = 0.0
    """Most that each moves from frame to frame, as a share of the still's sides."""
    gone: Share = 0.0
    """Share of the frames in which it is not there."""


def moving(
    donor: AnnotatedImage,
    frames: int,
    size: tuple[int, int],
    options: CutoutOptions,
    rng: np.random.Generator,
) -> list[Cutout]:
    """Cut objects out of a still, one at the least where it has any, and send them off.

    Args:
        donor: The still. Objects at its edge, and those of which a side is hidden, are not taken.
        frames: Length of the clip.
        size: Height and width of its frames, in which they begin anywhere.
        options: How many they are, and how they move.
        rng: Chooses the objects, their number, places and ways.
    """
    encoded, image = donor.outlines(*_WHY), donor.image()
    height, width = image.shape[:2]
    boxes = donor.labels.boxes
    inside = (boxes > 0).all(axis=1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
    whole = [
        row
        for row in np.flatnonzero(inside).tolist()
        if np.abs(masks.box(encoded[row]) - boxes[row]).max() <= EXACT
    ]
    count = min(len(whole), int(rng.integers(1, options.most + 1)))
    cutouts = []
    for row in rng.permutation(np.array(whole, int))[:count].tolist():
        left, top, right, bottom = masks.box(encoded[row]).astype(int)
        way, length = rng.uniform(0, 2 * np.pi), options.shift * math.sqrt(rng.random())
        sides = np.array(size[::-1])
        cutouts.append(
            Cutout(
                image[top:bottom, left:right],
                masks.decode(encoded[row])[top:bottom, left:right],
                int(donor.labels.classes[row]),
                start=rng.uniform(0, sides) - np.array([right - left, bottom - top]) / 2,
                step=length * np.array([np.cos(way), np.sin(way)]) * sides,
                there=rng.random(frames) >= options.gone,
            )
        )
    return cutouts


def over(still: AnnotatedImage, cutouts: Sequence[Cutout], index: int, visible: float) -> AnnotatedImage:
    """Put the cutouts where they are in one frame; the last one is in front.

    Args:
        still: What lies behind, its objects numbered.
        cutouts: From `moving`.
        index: Number of the frame, from 0.
        visible: An object of which a smaller share is to be seen is ignored.

    Returns:
        The frame, without a teacher's embeddings. The boxes are those of whole objects inside the frame; the cutouts
        are numbered after the still's objects.
    """
    image, before = still.image().copy(), still.labels
    first = int(before.ids.max(initial=-1)) + 1
    seen = [masks.decode(one) for one in still.outlines(*_WHY)]
    areas = [int(one.sum()) for one in seen]
    boxes, ids, kinds = list(before.boxes), before.ids.tolist(), before.classes.tolist()
    for number, one in enumerate(cutouts):
        placed = _place(one, index, image) if one.there[index] else np.zeros(0, dtype=bool)
        if placed.any():
            seen = [other & ~placed for other in seen]
            seen.append(placed)
            areas.append(int(one.mask.sum()))
            boxes.append(masks.box(masks.encode(placed)))
            ids.append(first + number)
            kinds.append(one.kind)
    places = np.array(boxes).reshape(-1, 4)
    shares = np.array([one.sum() for one in seen]) / np.maximum(1, areas)
    kept = shares >= visible
    return AnnotatedImage(
        still.name,
        lambda: image,
        labels=Labels(ids=np.array(ids, int)[kept], boxes=places[kept], classes=np.array(kinds, int)[kept]),
        ignored=np.concatenate([still.ignored, places[~kept & (shares > 0)]]),
        masks=lambda: [masks.encode(seen[row]) for row in np.flatnonzero(kept)],
    )


def _place(
    cutout: Cutout, index: int, image: UInt8[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Paint a cutout into a frame; where it is."""
    placed = np.zeros(image.shape[:2], dtype=bool)
    left, top = np.rint(cutout.start + index * cutout.step).astype(int)
    rows, columns = np.nonzero(cutout.mask)
    inside = (
        (rows + top >= 0)
        & (rows + top < len(image))
        & (columns + left >= 0)
        & (columns + left < image.shape[1])
    )
    rows, columns = rows[inside], columns[inside]
    image[rows + top, columns + left] = cutout.pixels[rows, columns]
    placed[rows + top, columns + left] = True
    return placed
