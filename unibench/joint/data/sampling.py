"""Training sets become batches: sample i of a training is the same on any number of processes.

A sample is a still, or a few frames of one video some frames apart. All frames of a sample are scaled, moved on the
canvas and mirrored alike, so that motion stays as it is; a still may stand for a clip, and is then moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from msgspec import Meta
from PIL import Image
from torch import Tensor

from unibench.errors import TrainingError
from unibench.geometry import masks
from unibench.geometry.canvas import BORDER, draw_top_left
from unibench.joint.data import cutouts
from unibench.joint.data.cutouts import CutoutOptions
from unibench.joint.ranges import Count, Factor, Share, Side, Weight
from unibench.joint.system import UNKNOWN, AnnotatedImage, Batch, Objective, Targets, TrainingSet

STEP = 32
"""Pixels: the coarsest stride of most networks."""
TRIES = 100
"""Samples that are drawn before there is said to be none of the kind that is asked for."""
Sizes = Annotated[
    tuple[Annotated[int, Meta(ge=STEP, le=8192, multiple_of=STEP)], ...], Meta(min_length=0, max_length=1000)
]
Shares = Annotated[tuple[Weight, ...], Meta(min_length=0, max_length=1000)]


@dataclass(frozen=True)
class ViewOptions:
    """The canvas on which a network sees an image: resized with its aspect kept, padded right and below."""

    height: Side
    """Pixels."""
    width: Side
    sizes: Sizes = ()
    """Short sides of the canvas in training, of which each batch has one at random, pixels; the long side is in
    proportion, rounded down to a multiple of `STEP`. Empty: always `height` and `width`."""


@dataclass(frozen=True)
class Ratios:
    """Shares of the training sets, in their order, in the clips of each objective. Empty: by number of images."""

    det: Shares = ()
    vid: Shares = ()
    mot: Shares = ()
    sot: Shares = ()


@dataclass(frozen=True)
class SampleOptions:
    """How a clip for training is drawn from a training set."""

    time: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Frames of a clip; 1: stills. The objective `det` takes one in any case."""
    gap: Count = 1
    """Frames of the video from one frame of the clip to the next; less where the video is shorter."""
    flip: Share = 0.5
    """Share of clips that are mirrored left to right."""
    scale: tuple[Factor, Factor] = (1.0, 1.0)
    """Range of the factor on the size with which an image fits the canvas; what stands out is cut off."""
    visible: Share = 0.25
    """An object that keeps less of its area on the canvas is ignored."""
    hsv: tuple[Share, Share, Share] = (0.0, 0.0, 0.0)
    """Most that hue (of a turn), saturation and value (of their ranges) of a frame change, each in every second
    frame on average; each frame of a clip changes on its own."""
    stills: bool = False
    """Whether a still is a clip as well, its objects with identities; otherwise clips are of videos only."""
    shift: Share = 0.0
    """Most that a still moves from one frame of its clip to the next, as a share of the canvas's sides."""
    cutouts: CutoutOptions = field(default_factory=CutoutOptions)
    """What moves over a still that stands for a clip: objects of another still of the same data."""
    ratios: Ratios = field(default_factory=Ratios)

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: found {list(self.scale)}, expected the smaller factor first")
        for name, value in (("shift", self.shift), ("cutouts.most", self.cutouts.most)):
            if value and not self.stills:
                raise ValueError(
                    f"{name}: found {value}, expected 0 where stills = false: it is about stills alone"
                )


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
    objective: Objective = "mot",
    masks: bool = False,
    prompted: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> Batch:
    """Draw one process's batch of a step; the batches of all processes together do not depend on their number.

    Args:
        training_sets: With the same classes, unless `prompted`.
        options: What a sample is.
        canvas: Height and width of the images, pixels.
        seed: Of the training.
        step: Number of the batch, from 0: with `accumulate` there are several in a step of the training.
        size: Samples in this batch.
        objective: What the batch teaches.
        masks: Whether targets have masks.
        prompted: Whether the whole batch, that of all processes, comes from one training set and has its classes.
        rank: Number of the process, from 0.
        world_size: Number of processes.

    Raises:
        TrainingError: There are no images, or none of the kind that is asked for: of videos, with an object, with
            masks; or the ratios do not fit the training sets.
    """
    canvas = _canvas(canvas, np.random.default_rng([seed, step, 1]))
    options = replace(options, time=1) if objective == "det" else options
    shares = _shares(training_sets, getattr(options.ratios, objective), objective)
    if prompted:
        shares = shares or [len(data.images) for data in training_sets]
        training_sets, shares = [training_sets[_drawn(shares, np.random.default_rng([seed, step, 2]))]], ()
    first = (step * world_size + rank) * size
    samples = [
        _sample(
            training_sets, shares, options, canvas, objective, np.random.default_rng([seed, first + i]), masks
        )
        for i in range(size)
    ]
    images = torch.stack([torch.stack([image for image, _ in frames]) for frames in samples])
    targets = tuple(tuple(target for _, target in frames) for frames in samples)
    return Batch(images, targets, objective, training_sets[0].classes if prompted else ())


def _canvas(options: ViewOptions, rng: np.random.Generator) -> ViewOptions:
    """The canvas of a batch."""
    if not options.sizes:
        return options
    short, sides = int(rng.choice(options.sizes)), (options.height, options.width)
    long = short * max(sides) // min(sides) // STEP * STEP
    return ViewOptions(*((short, long) if options.height <= options.width else (long, short)))


def _sample(
    training_sets: Sequence[TrainingSet],
    shares: Sequence[float],
    options: SampleOptions,
    canvas: ViewOptions,
    objective: Objective,
    rng: np.random.Generator,
    masks: bool,
) -> list[tuple[Tensor, Targets]]:
    for _ in range(TRIES):
        frames = _draw(training_sets, shares, options, rng)
        images = [frame.image() for frame in frames]
        height, width = images[0].shape[:2]
        scale = min(canvas.height / height, canvas.width / width) * rng.uniform(*options.scale)
        left, top = (
            int(np.rint(rng.random() * (room - round(side * scale))))
            for room, side in ((canvas.width, width), (canvas.height, height))
        )
        first = _Warp(scale, left, top, bool(rng.random() < options.flip))
        still = not frames[0].video
        warps = [first, *(_moves(first, canvas, options.shift if still else 0.0, len(frames) - 1, rng))]
        targets = [
            _targets(frame, warp, canvas, options, masks) for frame, warp in zip(frames, warps, strict=True)
        ]
        if objective == "sot":
            targets = _one_object(targets, rng)
        if targets:
            jittered = [_jittered(image, options.hsv, rng) for image in images]
            return [
                (_image(image, warp, canvas), one)
                for image, warp, one in zip(jittered, warps, targets, strict=True)
            ]
    raise TrainingError(
        f"training data: hardly any object that can be followed in {_names(training_sets)}, expected one in the first "
        "frame; give data with identities, or let the stages alternate = ['mot']"
    )


def _moves(
    first: _Warp, canvas: ViewOptions, shift: float, frames: int, rng: np.random.Generator
) -> list[_Warp]:
    """Where a still lies in the frames after the first, a step of its own before each.

    Reference:
        Meinhardt et al., "TrackFormer", CVPR 2022, section 4: tracking is learnt from stills that are moved.
    """
    if not shift:
        return [first] * frames
    steps = np.rint(rng.uniform(-shift, shift, (frames, 2)) * [canvas.width, canvas.height]).astype(int)
    return [replace(first, left=first.left + int(x), top=first.top + int(y)) for x, y in steps.cumsum(axis=0)]


def _one_object(targets: Sequence[Targets], rng: np.random.Generator) -> list[Targets]:
    """Leave one of the objects in the first frame; empty: there is none, or none that can be found again."""
    first = targets[0]
    able = np.flatnonzero((first.ids != UNKNOWN).numpy() | (len(targets) == 1))
    if not len(able):
        return []
    row = int(rng.choice(able))
    return [
        _rows(first, torch.tensor([row])),
        *(_rows(one, torch.nonzero(one.ids == first.ids[row])[:, 0]) for one in targets[1:]),
    ]


def _rows(targets: Targets, rows: Tensor) -> Targets:
    """Some of the objects."""
    names = ("boxes", "classes", "ids", "embeddings", *(("masks",) if len(targets.masks) else ()))
    return replace(targets, **{name: getattr(targets, name)[rows] for name in names})


def _draw(
    training_sets: Sequence[TrainingSet],
    shares: Sequence[float],
    options: SampleOptions,
    rng: np.random.Generator,
) -> list[AnnotatedImage]:
    """The frames of one sample; of a video that is too short for the gap, frames as far apart as there are."""
    for _ in range(TRIES):  # stills among the videos are passed over
        images, row = _at(training_sets, shares, rng)
        if options.time == 1:
            return [images[row]]
        if images[row].video:
            return _along(images, row, options)
        if options.stills:
            return _clip(images, row, options, rng)
    raise TrainingError(
        f"training data: hardly any videos in {_names(training_sets)}, expected them for samples of {options.time} "
        "frames; add clips, or set sample.time = 1 or sample.stills = true"
    )


def _shares(training_sets: Sequence[TrainingSet], ratios: Sequence[float], objective: str) -> Sequence[float]:
    """Shares of the training sets; empty: by their numbers of images."""
    if not any(len(data.images) for data in training_sets):
        raise TrainingError("training data: no images, expected at least one; name data with --data")
    if not ratios:
        return ()
    if len(ratios) != len(training_sets) or not sum(ratios):
        raise TrainingError(
            f"sample.ratios.{objective}: found {list(ratios)}, expected a share for each of the {len(training_sets)} "
            f"training sets, not all 0: {_names(training_sets)}"
        )
    for data, share in zip(training_sets, ratios, strict=True):
        if share and not len(data.images):
            raise TrainingError(
                f"sample.ratios.{objective}: {share:g} of {data.name}, which has no images; set it to 0"
            )
    return ratios


def _at(
    training_sets: Sequence[TrainingSet], shares: Sequence[float], rng: np.random.Generator
) -> tuple[Sequence[AnnotatedImage], int]:
    """An image at random: the images of its set, its row there."""
    if shares:
        images = training_sets[_drawn(shares, rng)].images
        return images, int(rng.integers(len(images)))
    ends = np.cumsum([len(data.images) for data in training_sets])
    number = int(rng.integers(ends[-1]))
    which = int(np.searchsorted(ends, number, side="right"))
    return training_sets[which].images, number - int(ends[which]) + len(training_sets[which].images)


def _drawn(shares: Sequence[float], rng: np.random.Generator) -> int:
    """Draw a row by its share."""
    ends = np.cumsum(shares)
    return int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))


def _clip(
    images: Sequence[AnnotatedImage], row: int, options: SampleOptions, rng: np.random.Generator
) -> list[AnnotatedImage]:
    """A still as often as a clip has frames and, if asked for, objects of another one that move over it."""
    still = _numbered(images[row])
    if not options.cutouts.most:
        return [still] * options.time
    donor, (height, width) = images[int(rng.integers(len(images)))], still.image().shape[:2]
    moving = cutouts.moving(donor, options.time, (height, width), options.cutouts, rng)
    return [cutouts.over(still, moving, index, options.visible) for index in range(options.time)]


def _numbered(still: AnnotatedImage) -> AnnotatedImage:
    """A still whose objects have identities, since all frames of its clip show the same."""
    return replace(still, labels=replace(still.labels, ids=np.arange(len(still.labels.boxes))))


def _names(training_sets: Sequence[TrainingSet]) -> str:
    return ", ".join(data.name for data in training_sets)


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
    image: UInt8[np.ndarray, "height width 3"],
    warp: _Warp,
    canvas: ViewOptions,
    border: tuple[int, int, int] = BORDER,
) -> UInt8[Tensor, "3 rows columns"]:
    """Resize an image and put it on the canvas."""
    height, width = (max(1, int(side * warp.scale + 1e-6)) for side in image.shape[:2])
    scaled = draw_top_left(image, warp.scale, (height, width))
    placed = torch.tensor(border, dtype=torch.uint8)[:, None, None].repeat(1, canvas.height, canvas.width)
    to_rows, from_rows = _overlap(warp.top, height, canvas.height)
    to_columns, from_columns = _overlap(warp.left, width, canvas.width)
    placed[:, to_rows, to_columns] = scaled[:, from_rows, from_columns]
    return placed.flip(2) if warp.mirrored else placed


def _overlap(start: int, length: int, room: int) -> tuple[slice, slice]:
    """Where an interval that begins at `start` lies in the room, and which part of it that is."""
    low, high = max(start, 0), min(start + length, room)
    return slice(low, high), slice(low - start, high - start)


def _jittered(
    image: UInt8[np.ndarray, "height width 3"], most: Sequence[float], rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Change hue, saturation and value of a frame, as YOLOX does: each by a random part of the most, or not at all."""
    if not any(most):
        return image
    shift = np.rint(rng.uniform(-1, 1, 3) * most * np.array([256, 255, 255]) * rng.integers(0, 2, 3))
    hsv = np.asarray(Image.fromarray(image).convert("HSV")).astype(np.int64) + shift.astype(np.int64)
    hsv[..., 0] %= 256
    colours = Image.fromarray(np.clip(hsv, 0, 255).astype(np.uint8), mode="HSV")
    return np.array(colours.convert("RGB"))  # a copy: torch wants what can be written


def _targets(
    annotated: AnnotatedImage, warp: _Warp, canvas: ViewOptions, options: SampleOptions, masks: bool
) -> Targets:
    labels, count = annotated.labels, len(annotated.labels.boxes)
    boxes, share = _placed(labels.boxes, warp, canvas)
    ids = labels.ids if len(labels.ids) else np.full(count, UNKNOWN)
    embeddings = annotated.embeddings if len(annotated.embeddings) else np.zeros((count, 0))
    kept: Bool[np.ndarray, " object"] = share >= options.visible
    regions, left = _placed(annotated.ignored, warp, canvas)
    ignored = np.concatenate([boxes[~kept & (share > 0)], regions[left > 0]])
    targets = Targets(
        boxes=torch.from_numpy(boxes[kept]).float(),
        classes=torch.from_numpy(labels.classes[kept].astype(np.int64)),
        ids=torch.from_numpy(ids[kept].astype(np.int64)),
        embeddings=torch.from_numpy(embeddings[kept]).float(),
        ignored=torch.from_numpy(ignored).float(),
    )
    return replace(targets, masks=_masks(annotated, kept, warp, canvas)) if masks else targets


def _masks(
    annotated: AnnotatedImage, kept: Bool[np.ndarray, " object"], warp: _Warp, canvas: ViewOptions
) -> Bool[Tensor, "object rows columns"]:
    """The masks of some objects on the canvas: a pixel is on an object if the object has most of it."""
    encoded = annotated.outlines("a stage has masks = true", "false")
    placed = torch.zeros(int(kept.sum()), canvas.height, canvas.width, dtype=torch.bool)
    for place, row in enumerate(np.flatnonzero(kept)):
        grey = np.repeat(masks.decode(encoded[int(row)])[..., None].astype(np.uint8) * 255, 3, axis=2)
        placed[place] = _image(grey, warp, canvas, (0, 0, 0))[0] > 127
    return placed


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
