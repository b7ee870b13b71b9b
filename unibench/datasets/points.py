"""Tracked points as labels, and how they are asked for: TAP-Vid's query modes `first` and `strided`.

A point is an object with one keypoint: x, y in pixels (the middle of the first pixel is 0) and a third value, 1 where
it is visible, 0 where it is occluded. All points stand in the labels of every frame.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from unibench.datasets.files import fail, read_bytes
from unibench.records import Clip, Frame, Labels, Truth

QUERY_MODES = ("first", "strided")
STRIDE = 5
"""Frames between two queries of a point in mode `strided`."""
_BROKEN = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, SyntaxError, MemoryError, RuntimeError,
    OverflowError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What NumPy raises at damaged archives."""
BEYOND = 0.05
"""Share of a side by which annotators may place a visible point outside the frame."""


def make_truth(
    places: Float[np.ndarray, "point frame 2"],
    visible: Bool[np.ndarray, "point frame"],
    size: tuple[int, int],
) -> Truth:
    """Make the truth of a clip; ids are 1, 2, ...

    Args:
        places: x, y in pixels, finite.
        visible: Where a point is visible.
        size: (height, width) of the frames.
    """
    return Truth(make_labels(places, visible), size=size)


def make_labels(
    places: Float[np.ndarray, "point frame 2"], visible: Bool[np.ndarray, "point frame"]
) -> tuple[Labels, ...]:
    """Make the labels of every frame; ids are 1, 2, ..."""
    ids = np.arange(1, len(places) + 1)
    keypoints = np.concatenate([places, visible[..., None]], axis=2).astype(np.float64)
    return tuple(Labels(ids=ids, keypoints=keypoints[:, frame, None]) for frame in range(places.shape[1]))


def queries(truth: Truth) -> dict[int, Labels]:
    """The points that are asked for in each frame: where they are first visible, or where `Truth.queries` says."""
    table = _keypoints(truth)
    visible = table[..., 2] > 0
    frames = visible.argmax(axis=1) if truth.queries is None else truth.queries
    there, ids = visible.any(axis=1), truth.labels[0].ids
    return {
        frame: Labels(ids=ids[rows], keypoints=table[rows, frame, None])
        for frame in np.unique(frames[there]).tolist()
        for rows in [np.flatnonzero(there & (frames == frame))]
    }


def with_queries(clip: Clip, truth: Truth) -> Clip:
    """The clip, whose frames prompt with the points that are asked for there."""
    return replace(clip, frames=partial(_prompted, clip.frames, queries(truth)))


def read_npz(file: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Read arrays of a NumPy archive.

    Args:
        file: It may hold others too.
        names: Of the arrays.

    Raises:
        DataError: It is missing or damaged, or an array is not there or holds more than numbers.
    """
    expected = f"expected a .npz with {' and '.join(names)}"
    content = io.BytesIO(read_bytes(file))
    if not zipfile.is_zipfile(content):  # NumPy would take it for a pickle, and advise to trust it
        fail(file, "no NumPy archive", expected)
    try:
        with np.load(content, allow_pickle=False) as archive:
            return [archive[name] for name in names]
    except _BROKEN as error:
        fail(file, f"no points can be read ({' '.join(str(error).split())[:80]})", expected)


def ask_again(clip: Clip, truth: Truth, stride: int = STRIDE) -> tuple[Clip, Truth]:
    """Ask for each point in every so many frames in which it is visible; each query is a point of its own.

    Args:
        clip: Its prompts are replaced.
        truth: In mode `first`.
        stride: Frames between two queries.

    Returns:
        The clip and the truth of the queries, in the order of frames, then of points.

    Reference:
        Doersch et al.: TAP-Vid, NeurIPS 2022, section 4.
    """
    table = _keypoints(truth)
    asked = [
        (frame, row)
        for frame in range(0, len(truth.labels), stride)
        for row in np.flatnonzero(table[:, frame, 2] > 0).tolist()
    ]
    frames, rows = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    labels = make_labels(table[rows, :, :2], table[rows, :, 2] > 0)
    again = replace(truth, labels=labels, queries=frames)
    return with_queries(clip, again), again


def checked(
    where: Path | str,
    points: np.ndarray,
    occluded: np.ndarray,
    frames: int,
    size: tuple[int, int],
) -> tuple[Float[np.ndarray, "point frame 2"], Bool[np.ndarray, "point frame"]]:
    """Check tracks as TAP-Vid has them.

    Args:
        where: For messages.
        points: (point, frame, 2): x, y as shares of width and height, 0 to 1; any number where a point is occluded.
        occluded: (point, frame).
        frames: Of the clip.
        size: (height, width), pixels.

    Returns:
        x, y in pixels, and where a point is visible.

    Raises:
        DataError: They are no tracks of this clip, or a visible point has no place in the frame.
    """
    if points.dtype.kind not in "fiu" or points.ndim != 3 or points.shape[2] != 2 or not points.size:
        found = f"points of shape {points.shape} and type {points.dtype}"
        fail(where, found, "expected (point, frame, [x, y]) from 0 to 1")
    if occluded.shape != points.shape[:2] or occluded.dtype.kind not in "bui":
        found = (
            f"occluded of shape {occluded.shape} and type {occluded.dtype} for points of shape {points.shape}"
        )
        fail(where, found, "expected (point, frame), true where a point is not seen")
    if points.shape[1] != frames:
        fail(
            where,
            f"points of {points.shape[1]} frames, expected {frames}",
            "give every frame of the clip once",
        )
    visible = occluded == 0
    if not visible.any():
        fail(where, "no point is visible in any frame", "expected one point or more to ask for")
    places = points.astype(np.float64)
    wrong = visible & ~np.isfinite(places).all(axis=2)
    if wrong.any():
        fail(where, f"{_named(wrong)} is visible and not finite", "mark it as occluded, or say where it is")
    outside = visible & ((places < -BEYOND) | (places > 1 + BEYOND)).any(axis=2)
    if outside.any():
        found = f"{_named(outside)} is visible at {places[outside][0].tolist()}"
        fail(where, found, "expected x and y from 0 to 1, as shares of width and height")
    places[~visible] = np.clip(np.nan_to_num(places[~visible]), -1, 2)
    return places * size[::-1] - 0.5, visible


def _named(wrong: Bool[np.ndarray, "point frame"]) -> str:
    point, frame = np.argwhere(wrong)[0].tolist()
    return f"point {point} of frame {frame}"


def _keypoints(truth: Truth) -> Float[np.ndarray, "point frame 3"]:
    return np.stack([one.keypoints[:, 0] for one in truth.labels], axis=1)


def _prompted(frames: Callable[[], Iterator[Frame]], prompts: Mapping[int, Labels]) -> Iterator[Frame]:
    for frame in frames():
        yield replace(frame, prompt=prompts.get(frame.index, Labels()))
