"""Data sets become training batches: sample i of a training is the same whoever draws it, on any number of processes.

A sample is a still, or a few frames of one video some frames apart. All frames of a sample are scaled, moved on the
canvas and mirrored alike, so that what moves keeps its way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from unibench.errors import TrainingError
from unibench.geometry.canvas import BORDER, paste
from unibench.joint.system import UNKNOWN, Batch, DetectionSet, Picture, Targets


@dataclass(frozen=True)
class ViewOptions:
    """The canvas on which a network sees an image: resized with its aspect kept, padded right and below."""

    height: int
    """Pixels."""
    width: int


@dataclass(frozen=True)
class SampleOptions:
    """How a clip for training is cut out of a data set."""

    time: int = 1
    """Frames of a clip; 1: stills."""
    gap: int = 1
    """Frames of the video from one frame of the clip to the next; less where the video is shorter."""
    flip: float = 0.5
    """Share of clips that are mirrored left to right."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the factor on the size with which an image fits the canvas; what stands out is cut off."""
    visible: float = 0.25
    """An object that keeps less of its area on the canvas is ignored."""


@dataclass(frozen=True)
class _Warp:
    """From pixels of a picture to those of the canvas: x * scale + left, y * scale + top, mirrored after that."""

    scale: float
    left: int
    top: int
    mirrored: bool


def batches(  # noqa: PLR0913 - where in the training a batch stands takes four numbers
    sets: Sequence[DetectionSet],
    options: SampleOptions,
    canvas: ViewOptions,
    *,
    seed: int,
    step: int,
    size: int,
    rank: int = 0,
    world: int = 1,
) -> Batch:
    """Draw one process's batch of a step; the batches of all processes together do not depend on their number.

    Args:
        sets: data sets with the same classes; every picture is drawn equally often.
        options: what a sample is.
        canvas: height and width of the images, pixels.
        seed: of the training.
        step: number of the step, from 0.
        size: samples in this batch.
        rank: number of the process, from 0.
        world: number of processes.

    Raises:
        TrainingError: there are no pictures, or pairs are asked for and there are no videos.
    """
    first = (step * world + rank) * size
    samples = [_sample(sets, options, canvas, np.random.default_rng([seed, first + i])) for i in range(size)]
    images = torch.stack([torch.stack([image for image, _ in frames]) for frames in samples])
    return Batch(images, tuple(tuple(target for _, target in frames) for frames in samples))


def _sample(
    sets: Sequence[DetectionSet], options: SampleOptions, canvas: ViewOptions, rng: np.random.Generator
) -> list[tuple[Tensor, Targets]]:
    pictures = _draw(sets, options, rng)
    images = [picture.image() for picture in pictures]
    height, width = images[0].shape[:2]
    scale = min(canvas.height / height, canvas.width / width) * rng.uniform(*options.scale)
    left, top = (
        int(np.rint(rng.random() * (room - round(side * scale))))
        for room, side in ((canvas.width, width), (canvas.height, height))
    )
    warp = _Warp(scale, left, top, bool(rng.random() < options.flip))
    return [
        (_image(image, warp, canvas), _targets(picture, warp, canvas, options.visible))
        for picture, image in zip(pictures, images, strict=True)
    ]


def _draw(sets: Sequence[DetectionSet], options: SampleOptions, rng: np.random.Generator) -> list[Picture]:
    """The pictures of one sample; of a video that is too short for the gap, frames as far apart as there are."""
    ends = np.cumsum([len(data.pictures) for data in sets])
    if not len(ends) or not ends[-1]:
        raise TrainingError("training data: no pictures, expected at least one; name data with --data")
    if options.time == 1:
        pictures, row = _at(sets, ends, int(rng.integers(ends[-1])))
        return [pictures[row]]
    for _ in range(100):  # stills among the videos are passed over
        pictures, row = _at(sets, ends, int(rng.integers(ends[-1])))
        if pictures[row].video:
            return _along(pictures, row, options)
    raise TrainingError(
        f"training data: hardly any videos in {', '.join(data.name for data in sets)}, expected them for samples "
        f"of {options.time} frames; add clips, or set sample.time = 1"
    )


def _at(sets: Sequence[DetectionSet], ends: np.ndarray, number: int) -> tuple[Sequence[Picture], int]:
    """A picture by its number among those of all sets: its set's pictures, its row there."""
    which = int(np.searchsorted(ends, number, side="right"))
    return sets[which].pictures, number - int(ends[which]) + len(sets[which].pictures)


def _along(pictures: Sequence[Picture], row: int, options: SampleOptions) -> list[Picture]:
    """Frames of the video of picture `row`, `gap` apart or as far as it goes, from that one on if there are so many."""
    video = pictures[row].video

    def there(place: int) -> bool:
        return 0 <= place < len(pictures) and pictures[place].video == video

    for gap in range(options.gap, 0, -1):
        reach = gap * (options.time - 1)
        for start in range(row, row - reach - 1, -1):
            if there(start) and there(start + reach):
                return [pictures[start + gap * number] for number in range(options.time)]
    return [pictures[row]] * options.time


def _image(
    image: UInt8[np.ndarray, "height width 3"], warp: _Warp, canvas: ViewOptions
) -> UInt8[Tensor, "3 rows columns"]:
    """Resize a picture and put it on the canvas."""
    height, width = (max(1, int(side * warp.scale + 1e-6)) for side in image.shape[:2])
    scaled = paste(image, warp.scale, (height, width))
    placed = torch.tensor(BORDER, dtype=torch.uint8)[:, None, None].repeat(1, canvas.height, canvas.width)
    to_rows, from_rows = _overlap(warp.top, height, canvas.height)
    to_columns, from_columns = _overlap(warp.left, width, canvas.width)
    placed[:, to_rows, to_columns] = scaled[:, from_rows, from_columns]
    return placed.flip(2) if warp.mirrored else placed


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Where a stretch that begins at `start` lies in the room, and which part of it that is."""
    low, high = max(start, 0), min(start + length, room)
    return slice(low, high), slice(low - start, high - start)


def _targets(picture: Picture, warp: _Warp, canvas: ViewOptions, visible: float) -> Targets:
    labels, count = picture.labels, len(picture.labels.boxes)
    boxes, share = _placed(labels.boxes, warp, canvas)
    ids = labels.ids if len(labels.ids) else np.full(count, UNKNOWN)
    embeddings = picture.embeddings if len(picture.embeddings) else np.zeros((count, 0))
    kept: Bool[np.ndarray, " object"] = share >= visible
    regions, left = _placed(picture.ignored, warp, canvas)
    ignored = np.concatenate([boxes[~kept & (share > 0)], regions[left > 0]])
    return Targets(
        boxes=torch.from_numpy(boxes[kept]).float(),
        classes=torch.from_numpy(labels.classes[kept].astype(np.int64)),
        ids=torch.from_numpy(ids[kept].astype(np.int64)),
        embeddings=torch.from_numpy(embeddings[kept]).float(),
        ignored=torch.from_numpy(ignored).float(),
    )


def _placed(
    boxes: Float[np.ndarray, "box 4"], warp: _Warp, canvas: ViewOptions
) -> tuple[Float[np.ndarray, "box 4"], Float[np.ndarray, " box"]]:
    """Boxes on the canvas, cut off at its edges, and the share of each that is left of it."""
    moved = boxes * warp.scale + [warp.left, warp.top, warp.left, warp.top]
    if warp.mirrored:
        moved[:, [0, 2]] = canvas.width - moved[:, [2, 0]]
    kept = np.clip(moved, 0, [canvas.width, canvas.height, canvas.width, canvas.height])
    whole, left = (np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (moved, kept))
    return kept, left / np.maximum(whole, 1e-9)
