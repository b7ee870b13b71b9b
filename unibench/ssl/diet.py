"""What all networks of the zoo learn from: windows of photographs, and rendered clips in front of photographs.

No benchmark shows any of it: its clips have other words, and its photographs come from scikit-image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from unibench.datasets.synthetic import shapes
from unibench.datasets.synthetic.scene import draws
from unibench.ssl import photographs
from unibench.ssl.photographs import Split

SIDE = 512
"""Length of a photograph's shorter side, pixels."""
WINDOW = 96
"""Side of a window of an image as the augmentations get it, pixels."""
REACH = (96, 384)
"""Range of a window's side in the photograph, pixels."""
TRIES, FLAT = 4, 10.0
"""A window whose grey levels have no larger standard deviation, of sky or blur, is drawn again, so many times."""
RENDERED = 0.25
"""Share of windows that show a rendered frame."""
WINDOWS, CLIPS, FRAMES = 4096, 80, 12
BACKGROUND = 192
"""Side of a rendered clip's background, pixels."""
LOOK = shapes.Look(speeds=(2.0, 8.0))
MARGIN = 1.3
"""Side of the window around a rendered shape, relative to the longer side of its box."""
PATTERNS = 3
CLASSES = len(shapes.VOCABULARY) * PATTERNS
"""Rendered classes: a kind of shape with a pattern; colours say nothing of it."""


@dataclass(frozen=True, eq=False)
class RenderedClip:
    """A clip and the shapes in it."""

    word: str
    """Its seed."""
    frames: UInt8[np.ndarray, "frame 128 128 3"]
    boxes: tuple[Float[np.ndarray, "shape 4"], ...]
    """Of each frame: xyxy, pixels."""
    classes: tuple[Int[np.ndarray, " shape"], ...]
    """Of each frame: 0 to `CLASSES` - 1."""


@dataclass(frozen=True, eq=False)
class Diet:
    """Images in memory."""

    windows: UInt8[np.ndarray, "window 96 96 3"]
    """Of photographs and of rendered frames."""
    clips: tuple[RenderedClip, ...]


def prepare(split: Split = "train", *, windows: int = WINDOWS, clips: int = CLIPS) -> Diet:
    """Read the photographs of a split, render clips in front of them, and cut windows out of both.

    Args:
        split: No photograph and no clip is in both.
        windows: How many.
        clips: How many.

    Raises:
        DataError: A photograph is not installed, or another file.
    """
    photos = [photographs.read(one, SIDE) for one in photographs.manifest(split)]
    rendered = tuple(_render(f"ssl/{split}/{number}", photos) for number in range(clips))
    rng = draws("ssl", split, "windows")
    return Diet(np.stack([_window(photos, rendered, rng) for _ in range(windows)]), rendered)


def _window(
    photos: Sequence[UInt8[np.ndarray, "_height _width 3"]],
    clips: Sequence[RenderedClip],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "96 96 3"]:
    """A window of a photograph or of a rendered frame, one that shows something if it can."""
    for _ in range(TRIES):
        if rng.random() < RENDERED:
            frames = clips[int(rng.integers(len(clips)))].frames
            source = frames[rng.integers(len(frames))]
        else:
            source = photos[int(rng.integers(len(photos)))]
        drawn = window(source, rng, WINDOW)
        if np.asarray(drawn.convert("L")).std() > FLAT:
            break
    return np.array(drawn)


def _render(word: str, photos: Sequence[UInt8[np.ndarray, "_height _width 3"]]) -> RenderedClip:
    rng = draws(word, "background")
    background = window(photos[int(rng.integers(len(photos)))], rng, BACKGROUND)
    plan = replace(shapes.scene(word, FRAMES, LOOK), background=np.asarray(background))
    painted = [shapes.paint(plan, index)[:2] for index in range(FRAMES)]
    classes = np.array([one.kind * PATTERNS + one.pattern for one in plan.shapes])
    return RenderedClip(
        word,
        np.stack([image for image, _ in painted]),
        tuple(labels.boxes for _, labels in painted),
        tuple(classes[labels.ids - 1] for _, labels in painted),
    )


def window(image: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator, side: int) -> Image.Image:
    """Cut a square out of an image, anywhere, and scale it to a side of so many pixels."""
    height, width = image.shape[:2]
    low, high = (min(reach, height, width) for reach in REACH)
    length = int(rng.integers(low, high + 1))
    left, top = int(rng.integers(width - length + 1)), int(rng.integers(height - length + 1))
    return _cut(image, (left, top, left + length, top + length), side)


def image(diet: Diet, rng: np.random.Generator) -> Image.Image:
    """Draw one of the windows."""
    return Image.fromarray(diet.windows[rng.integers(len(diet.windows))])


def shape(diet: Diet, rng: np.random.Generator) -> tuple[Image.Image, int]:
    """Draw a window of `WINDOW` pixels around a rendered shape, and its class."""
    while True:
        clip = diet.clips[rng.integers(len(diet.clips))]
        frame = int(rng.integers(len(clip.frames)))
        if count := len(clip.classes[frame]):
            break
    number = int(rng.integers(count))
    left, top, right, bottom = clip.boxes[frame][number]
    side = MARGIN * max(right - left, bottom - top)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    cut = _cut(clip.frames[frame], (x, y, x + side, y + side), WINDOW)
    return cut, int(clip.classes[frame][number])


def clip(diet: Diet, rng: np.random.Generator, time: int) -> UInt8[np.ndarray, "time 128 128 3"]:
    """Draw frames of a rendered clip, one or two apart, forwards or backwards."""
    frames = diet.clips[rng.integers(len(diet.clips))].frames
    gap = int(rng.integers(1, 3))
    start = int(rng.integers(len(frames) - gap * (time - 1)))
    drawn = frames[start : start + gap * (time - 1) + 1 : gap]
    return drawn[:: int(rng.choice((-1, 1)))]


def _cut(
    image: UInt8[np.ndarray, "height width 3"], box: tuple[float, float, float, float], side: int
) -> Image.Image:
    """A box of an image, scaled; beyond the edges the image is black."""
    left, top, right, bottom = (round(one) for one in box)
    x, y = max(left, 0), max(top, 0)
    inside = Image.fromarray(
        image[y : max(bottom, 0), x : max(right, 0)]
    )  # a photograph need not be copied whole
    piece = inside.crop((left - x, top - y, right - x, bottom - y))
    return piece.resize((side, side), Image.Resampling.BICUBIC)
