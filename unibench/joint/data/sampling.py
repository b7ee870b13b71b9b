"""Training sets become batches: sample i of a training is the same on any number of processes.

A sample is a still, or a few frames of one video some frames apart. All frames of a sample are scaled, moved on the
canvas and mirrored alike, so that motion stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from msgspec import Meta
from torch import Tensor

from unibench.errors import TrainingError
from unibench.geometry.canvas import BORDER, draw_top_left
from unibench.joint.ranges import Count, Factor, Share, Side
from unibench.joint.system import UNKNOWN, AnnotatedImage, Batch, Targets, TrainingSet


@dataclass(frozen=True)
class ViewOptions:
    """The canvas on which a network sees an image: resized with its aspect kept, padded right and below."""

    height: Side
    """Pixels."""
    width: Side


@dataclass(frozen=True)
class SampleOptions:
    """How a clip for training is drawn from a training set."""

    time: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Frames of a clip; 1: stills."""
    gap: Count = 1
    """Frames of the video from one frame of the clip to the next; less where the video is shorter."""
    flip: Share = 0.5
    """Share of clips that are mirrored left to right."""
    scale: tuple[Factor, Factor] = (1.0, 1.0)
    """Range of the factor on the size with which an image fits the canvas; what stands out is cut off."""
    visible: Share = 0.25
    """An object that keeps less of its area on the canvas is ignored."""

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: found {list(self.scale)}, expected the smaller factor first")


@dataclass(frozen=True)
class _Warp:
    """From pixels of an image to those of the canvas: x * scale + left, y * scale + top, mirrored after that."""

    scale: float
    left: int
    top: int
    mirrored: bool


def batches(  # noqa: PLR0913 - a batch's place in the training takes four numbers
    training_sets: Sequence[TrainingSet],
    options: SampleOptions,
    canvas: ViewOptions,
    *,
    seed: int,
    step: int,
    size: int,
    rank: int = 0,
    world_size: int = 1,
) -> Batch:
    """Draw one process's batch of a step; the batches of all processes together do not depend on their number.

    Args:
        training_sets: With the same classes; every image is drawn equally often.
        options: What a sample is.
        canvas: Height and width of the images, pixels.
        seed: Of the training.
        step: Number of the step, from 0.
        size: Samples in this batch.
        rank: Number of the process, from 0.
        world_size: Number of processes.

    Raises:
        TrainingError: There are no images, or clips are asked for and there are no videos.
    """
    first = (step * world_size + rank) * size
    samples = [
        _sample(training_sets, options, canvas, np.random.default_rng([seed, first + i])) for i in range(size)
    ]
    images = torch.stack([torch.stack([image for image, _ in frames]) for frames in samples])
    return Batch(images, tuple(tuple(target for _, target in frames) for frames in samples))


def _sample(
    training_sets: Sequence[TrainingSet],
    options: SampleOptions,
    canvas: ViewOptions,
    rng: np.random.Generator,
) -> list[tuple[Tensor, Targets]]:
    frames = _draw(training_sets, options, rng)
    images = [frame.image() for frame in frames]
    height, width = images[0].shape[:2]
    scale = min(canvas.height / height, canvas.width / width) * rng.uniform(*options.scale)
    left, top = (
        int(np.rint(rng.random() * (room - round(side * scale))))
        for room, side in ((canvas.width, width), (canvas.height, height))
    )
    warp = _Warp(scale, left, top, bool(rng.random() < options.flip))
    return [
        (_image(image, warp, canvas), _targets(frame, warp, canvas, options.visible))
        for frame, image in zip(frames, images, strict=True)
    ]


def _draw(
    training_sets: Sequence[TrainingSet], options: SampleOptions, rng: np.random.Generator
) -> list[AnnotatedImage]:
    """The frames of one sample; of a video that is too short for the gap, frames as far apart as there are."""
    ends = np.cumsum([len(data.images) for data in training_sets])
    if not len(ends) or not ends[-1]:
        raise TrainingError("training data: no images, expected at least one; name data with --data")
    if options.time == 1:
        images, row = _at(training_sets, ends, int(rng.integers(ends[-1])))
        return [images[row]]
    for _ in range(100):  # stills among the videos are passed over
        images, row = _at(training_sets, ends, int(rng.integers(ends[-1])))
        if images[row].video:
            return _along(images, row, options)
    raise TrainingError(
        f"training data: hardly any videos in {', '.join(data.name for data in training_sets)}, expected them for "
        f"samples of {options.time} frames; add clips, or set sample.time = 1"
    )


def _at(
    training_sets: Sequence[TrainingSet], ends: np.ndarray, number: int
) -> tuple[Sequence[AnnotatedImage], int]:
    """An image by its number among those of all training sets: the images of its set, its row there."""
    which = int(np.searchsorted(ends, number, side="right"))
    return training_sets[which].images, number - int(ends[which]) + len(training_sets[which].images)


def _along(images: Sequence[AnnotatedImage], row: int, options: SampleOptions) -> list[AnnotatedImage]:
    """Frames of the video of image `row`, `gap` apart or as far as it goes, from that one on if there are so many."""
    video = images[row].video

    def in_video(index: int) -> bool:
        return 0 <= index < len(images) and images[index].video == video

    for gap in range(options.gap, 0, -1):
        reach = gap * (options.time - 1)
        for start in range(row, row - reach - 1, -1):
            if in_video(start) and in_video(start + reach):
                return [images[start + gap * number] for number in range(options.time)]
    return [images[row]] * options.time


def _image(
    image: UInt8[np.ndarray, "height width 3"], warp: _Warp, canvas: ViewOptions
) -> UInt8[Tensor, "3 rows columns"]:
    """Resize an image and put it on the canvas."""
    height, width = (max(1, int(side * warp.scale + 1e-6)) for side in image.shape[:2])
    scaled = draw_top_left(image, warp.scale, (height, width))
    placed = torch.tensor(BORDER, dtype=torch.uint8)[:, None, None].repeat(1, canvas.height, canvas.width)
    to_rows, from_rows = _overlap(warp.top, height, canvas.height)
    to_columns, from_columns = _overlap(warp.left, width, canvas.width)
    placed[:, to_rows, to_columns] = scaled[:, from_rows, from_columns]
    return placed.flip(2) if warp.mirrored else placed


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Where an interval that begins at `start` lies in the room, and which part of it that is."""
    low, high = max(start, 0), min(start + length, room)
    return slice(low, high), slice(low - start, high - start)


def _targets(annotated: AnnotatedImage, warp: _Warp, canvas: ViewOptions, visible: float) -> Targets:
    labels, count = annotated.labels, len(annotated.labels.boxes)
    boxes, share = _placed(labels.boxes, warp, canvas)
    ids = labels.ids if len(labels.ids) else np.full(count, UNKNOWN)
    embeddings = annotated.embeddings if len(annotated.embeddings) else np.zeros((count, 0))
    kept: Bool[np.ndarray, " object"] = share >= visible
    regions, left = _placed(annotated.ignored, warp, canvas)
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
