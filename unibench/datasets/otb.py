"""OTB-2015: `<clip>/img/*.jpg` and `<clip>/groundtruth_rect*.txt` with x, y, width, height, 1-based.

A folder with two targets gives two clips, `Jogging-1` and `Jogging-2`, over the same images. Frames are told
apart by the numbers in their names, never by position: the folder of David holds frames 1 to 770 while its
truth starts at 300.

Reference:
    Wu, Lim, Yang: Object Tracking Benchmark, PAMI 2015; frame ranges: `configSeqs.m` of its toolkit.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unibench.datasets.clips import image_clip
from unibench.datasets.files import fail, found_clips, inside, read_table, require_folder, subfolders, visible
from unibench.datasets.images import frame_number, image_size, list_images
from unibench.records import Clip, Labels, Truth

FPS = 30.0  # the benchmark does not say
RANGES = {
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}
"""First and last frame with truth, where the folder may hold more."""
OMITTED = {"Tiger1": 5}
"""Frames at the start in which the target is hidden; the toolkit starts after them."""


def names(root: Path) -> list[str]:
    """List the clips: every `groundtruth_rect*.txt`.

    Raises:
        DataError: There are none.
    """
    require_folder(root, "OTB: <clip>/img and <clip>/groundtruth_rect.txt")
    clips = [name for folder in subfolders(root) for name in _truth_files(folder)]
    return found_clips(clips, root, "<clip>/groundtruth_rect.txt")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; frames whose box is empty are not scored.

    Args:
        root: The benchmark's folder.
        name: Clip, `David` or `Jogging-2`.

    Raises:
        DataError: The clip or a frame is missing, or the numbers of boxes and of frames differ.
    """
    inside(root, name)
    folder, file = _find(root, name)
    images = list_images(folder / "img")
    if name in RANGES:
        first, last = RANGES[name]
        images = [path for path in images if first <= frame_number(path) <= last]
    boxes = read_boxes(file)
    if len(boxes) != len(images):
        found = f"{len(boxes)} boxes for {len(images)} frames in {folder / 'img'}"
        fail(file, found, "the clip is incomplete; fetch it again")
    skip = OMITTED.get(name, 0)
    return single_target(name, images[skip:], boxes[skip:], FPS, file)


def read_boxes(file: Path) -> Float[np.ndarray, "frame 4"]:
    """Read one box a frame: x, y, width, height in pixels, NaN where there is none.

    Raises:
        DataError: A line is malformed, or a box lies beyond `FARTHEST`.
    """
    table = read_table(file, range(4, 5))
    table.refuse_far(table.values)
    return table.values


def single_target(
    name: str, images: list[Path], rectangles: Float[np.ndarray, "frame 4"], fps: float, file: Path
) -> tuple[Clip, Truth]:
    """Make a clip with one target out of a list of rectangles.

    Args:
        name: The clip's name.
        images: One for each rectangle.
        rectangles: (frame, 4) x, y, width, height in pixels, 1-based; NaN or without area: not visible.
        fps: Frames per second.
        file: Where the rectangles come from, for messages.

    Raises:
        DataError: Frame 0 has no target.
    """
    truth = target(rectangles, file, image_size(images[0]))
    return image_clip(name, images, fps, prompt=truth.labels[0]), truth


def target(rectangles: Float[np.ndarray, "frame 4"], file: Path, size: tuple[int, int]) -> Truth:
    """Make the truth of a clip with one target out of a list of rectangles.

    Args:
        rectangles: (frame, 4) x, y, width, height in pixels, 1-based; NaN or without area: not visible.
        file: Where the rectangles come from, for messages.
        size: (height, width) of the frames in pixels.

    Raises:
        DataError: Frame 0 has no target.
    """
    there = np.isfinite(rectangles).all(axis=1) & (rectangles[:, 2:] > 0).all(axis=1)
    if not there.any() or not there[0]:
        fail(file, "no target in frame 0, expected x,y,width,height", "a tracker starts from the first box")
    corner = rectangles[:, :2] - 1
    boxes = np.concatenate([corner, corner + rectangles[:, 2:]], axis=1)
    one = np.array([1], dtype=np.int64)
    labels = tuple(
        Labels(ids=one, boxes=box[None]) if present else Labels()
        for box, present in zip(boxes, there, strict=True)
    )
    scored = None if there.all() else tuple(np.flatnonzero(there).tolist())
    return Truth(labels, scored=scored, size=size)


def _find(root: Path, name: str) -> tuple[Path, Path]:
    for folder in (root / name, root / re.sub(r"-\d+$", "", name)):
        if folder.is_dir() and name in (files := _truth_files(folder)):
            return folder, files[name]
    fail(root, f"no clip {name!r}", "expected <clip>/groundtruth_rect.txt")


def _truth_files(folder: Path) -> dict[str, Path]:
    clips = {}
    for file in visible(folder, "groundtruth_rect*.txt"):
        if match := re.fullmatch(r"groundtruth_rect(?:\.([0-9]+))?", file.stem):
            clips[f"{folder.name}-{match[1]}" if match[1] else folder.name] = file
    return clips
