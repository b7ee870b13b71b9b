"""TAP-Vid: the benchmark's own pickles, which hold frames and tracks together.

- DAVIS: `tapvid_davis.pkl`, a dict of clips by name.
- Kinetics: shards `0000_of_0010.pkl`, ..., each a list of clips, whose frames are JPEGs; clips are called by place.
- RGB-stacking: `tapvid_rgb_stacking.pkl`, a list of clips.

A clip is a dict of `video` (frame, height, width, 3) uint8 or a list of JPEGs, `points` (point, frame, [x, y]), from 0
to 1, and `occluded` (point, frame). Files are mapped and read as data: see `pickled`.

Reference:
    Doersch et al.: TAP-Vid: A Benchmark for Tracking Any Point in a Video, NeurIPS 2022.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from unibench.datasets import pickled
from unibench.datasets.files import fail, found_clips, inside, require_folder, visible
from unibench.datasets.images import decode_jpeg
from unibench.datasets.points import checked, make_truth, with_queries
from unibench.records import Clip, Frame, Truth

FPS = 25.0
"""The files do not say."""
KEYS = ("video", "points", "occluded")


def names(root: Path, pattern: str) -> list[str]:
    """List the clips: names of a dict, `file-number` of a list.

    Args:
        root: The benchmark's folder.
        pattern: Of its files.

    Raises:
        DataError: There are none, or a file cannot be read.
    """
    require_folder(root, f"TAP-Vid's {pattern}")
    files = visible(root, pattern)
    return found_clips([name for file in files for name in _clips(file)], root, pattern)


def load(root: Path, name: str, pattern: str) -> tuple[Clip, Truth]:
    """Read one clip; each point is prompted where it is first visible.

    Args:
        root: The benchmark's folder.
        name: The clip.
        pattern: Of its files.

    Raises:
        DataError: There is no such clip, or it is no clip of TAP-Vid.
    """
    inside(root, name)
    for file in visible(require_folder(root, f"TAP-Vid's {pattern}"), pattern):
        if name in (clips := _clips(file)):
            return _load(file, name, clips[name])
    fail(root, f"no clip {name!r} in {pattern}", "`unibench data check` says what is there")


def _clips(file: Path) -> Mapping[str, Any]:
    content = pickled.read(file)
    if isinstance(content, list):
        return {f"{file.stem}-{number:04d}": one for number, one in enumerate(content)}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        fail(file, f"a {type(content).__name__}", "expected a dict of clips by name, or a list of clips")
    return content


def _load(file: Path, name: str, content: Any) -> tuple[Clip, Truth]:
    where = f"{file}: clip {name!r}"
    if not isinstance(content, dict) or not set(KEYS) <= set(content):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        fail(where, f"holds {found}", f"expected {', '.join(KEYS)}")
    video, points, occluded = (content[key] for key in KEYS)
    if not isinstance(points, np.ndarray) or not isinstance(occluded, np.ndarray):
        fail(where, "points or occluded are no arrays", "expected (point, frame, [x, y]) and (point, frame)")
    length, size = _measured(where, video)
    truth = make_truth(*checked(where, points, occluded, length, size), size)
    frames = partial(_frames, where, video, size)
    return with_queries(Clip(name, *size, FPS, length, frames, files=(file,)), truth), truth


def _measured(where: str, video: Any) -> tuple[int, tuple[int, int]]:
    """Number of frames, their height and width."""
    if isinstance(video, np.ndarray):
        if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8 or not video.size:
            found = f"a video of shape {video.shape} and type {video.dtype}"
            fail(where, found, "expected (frame, height, width, 3) uint8")
        return len(video), (video.shape[1], video.shape[2])
    if not isinstance(video, list | tuple) or not video:
        fail(where, "no frames", "expected an array (frame, height, width, 3), or a list of JPEGs")
    height, width = _image(where, video, 0).shape[:2]
    return len(video), (height, width)


def _frames(where: str, video: Any, size: tuple[int, int]) -> Iterator[Frame]:
    for index in range(len(video)):
        image = _image(where, video, index)
        if image.shape[:2] != size:
            found = f"frame {index} of {image.shape[1]}x{image.shape[0]} pixels, expected {size[1]}x{size[0]}"
            fail(where, found, "the data set is damaged; fetch it again")
        yield Frame(index, image)


def _image(where: str, video: np.ndarray | Sequence[Any], index: int) -> UInt8[np.ndarray, "height width 3"]:
    """One frame, decoded where it is a JPEG."""
    content = video[index]
    if isinstance(video, np.ndarray):
        return np.array(content)
    if not isinstance(content, bytes | memoryview):
        fail(where, f"frame {index} is a {type(content).__name__}", "expected the bytes of a JPEG")
    return decode_jpeg(content, f"{where}, frame {index}")
