"""Clips made of image files: frames decoded one by one, and clips cut short."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from unibench.datasets import video
from unibench.datasets.files import fail
from unibench.datasets.images import frame_number, image_size, read_image
from unibench.records import Clip, Frame, Labels, Truth

TAIL = 64
"""Bytes at the end of each frame's file that `hash_files` reads."""


@dataclass(frozen=True, eq=False)
class ImageFrames:
    """The frames of a clip on disk; calling it starts a fresh pass."""

    paths: tuple[Path, ...]
    size: tuple[int, int]
    """(height, width) in pixels, the same for all frames."""
    prompts: Mapping[int, Labels]
    """Index of a frame -> its prompt."""
    detections: tuple[Labels, ...] | None = None
    """Published detections of each frame; None where the benchmark has none."""

    def __call__(self) -> Iterator[Frame]:
        """Decode the frames one after the other.

        Raises:
            DataError: A frame is missing, damaged or of another size than the first.
        """
        return (self._frame(index) for index in range(len(self.paths)))

    def _frame(self, index: int) -> Frame:
        image = read_image(self.paths[index])
        if image.shape[:2] != self.size:
            height, width = self.size
            found = f"{image.shape[1]}x{image.shape[0]} pixels, expected {width}x{height} as in frame 0"
            fail(self.paths[index], found, "the data set is damaged; fetch it again")
        return Frame(
            index,
            image,
            prompt=self.prompts.get(index, Labels()),
            detections=Labels() if self.detections is None else self.detections[index],
        )


def image_clip(
    name: str,
    paths: list[Path],
    fps: float,
    *,
    prompt: Labels | Mapping[int, Labels] | None = None,
    detections: tuple[Labels, ...] | None = None,
    vocabulary: tuple[str, ...] = (),
) -> Clip:
    """Make a clip of image files; reads the first image's header only.

    Args:
        name: The clip's name.
        paths: Its images, in order; at least one.
        fps: Frames per second.
        prompt: Of frame 0, or of each of several frames.
        detections: Published detections of each frame, if there are any.
        vocabulary: Names of the object classes.
    """
    height, width = image_size(paths[0])
    prompts = {0: prompt} if isinstance(prompt, Labels) else prompt or {}
    frames = ImageFrames(tuple(paths), (height, width), prompts, detections)
    return Clip(name, height, width, fps, len(paths), frames, vocabulary, tuple(paths))


def hash_files(clip: Clip) -> str:
    """Hash by which changed frames are noticed without decoding them; empty for rendered clips.

    It covers name, size and last `TAIL` bytes of every file: a PNG ends with the checksum of its pixels, and a JPEG
    whose pixels change hardly keeps its length. What is no regular file, or cannot be read, is left to the decoder,
    which says what is wrong with it.
    """
    found = hashlib.sha256()
    for path in clip.files:
        found.update(path.name.encode() + _size_and_tail(path))
    return found.hexdigest() if clip.files else ""


def _size_and_tail(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe might never end
            return b" none "
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            return f" {size} ".encode() + file.read()
    except OSError:
        return b" none "


def image_files(clip: Clip) -> tuple[Path, ...]:
    """The image file of every frame; empty where a video file holds them, or where they are rendered."""
    in_video = any(file.suffix.lower() in video.SUFFIXES for file in clip.files[:1])
    return () if in_video else clip.files


def frame_numbers(clip: Clip) -> tuple[int, ...]:
    """Number of every frame as the benchmark's own text files count: by file names, else from 1."""
    if isinstance(clip.frames, ImageFrames):
        return tuple(frame_number(path) for path in clip.frames.paths)
    return tuple(range(1, clip.length + 1))


def truncate(clip: Clip, truth: Truth, frames: int) -> tuple[Clip, Truth]:
    """Keep the first frames of a clip and of its truth; a shorter clip stays as it is.

    Args:
        clip: What a tracker sees.
        truth: What the scorer sees.
        frames: Number of frames to keep, at least 1.

    Raises:
        DataError: No frame would be left.
    """
    if frames < 1:
        fail(
            clip.name,
            f"{frames} frames asked for, expected at least 1",
            "ask for a positive number of frames",
        )
    if frames >= clip.length:
        return clip, truth
    scored = None if truth.scored is None else tuple(index for index in truth.scored if index < frames)
    short = replace(
        truth,
        labels=truth.labels[:frames],
        ignored=truth.ignored[:frames],
        scales=truth.scales[:frames],
        scored=scored,
    )
    return replace(clip, length=frames, frames=_first(clip.frames, frames), files=clip.files[:frames]), short


def _first(frames: Callable[[], Iterator[Frame]], count: int) -> Callable[[], Iterator[Frame]]:
    if isinstance(frames, ImageFrames):
        detections = None if frames.detections is None else frames.detections[:count]
        return replace(frames, paths=frames.paths[:count], detections=detections)
    return partial(_islice, frames, count)


def _islice(frames: Callable[[], Iterator[Frame]], count: int) -> Iterator[Frame]:
    return islice(frames(), count)
