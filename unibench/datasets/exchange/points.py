"""Points as TAP-Vid has them: `<clip>.npz` with `points`, `occluded` and `ids`.

Reference:
    Doersch et al.: TAP-Vid: A Benchmark for Tracking Any Point in a Video, NeurIPS 2022.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import FARTHEST, fail, inside
from unibench.datasets.points import read_npz
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the points of a clip: NaN and occluded where nothing is said of a point.

    Raises:
        DataError: An object has not one keypoint.
    """
    file = path(folder, clip.name, ".npz")
    ids = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(one.ids for one in predicted)]))
    places = np.full((len(ids), len(predicted), 2), np.nan)
    occluded = np.ones(places.shape[:2], dtype=bool)
    for frame, labels in enumerate(predicted):
        if len(labels.ids) and labels.keypoints.shape[:2] != (len(labels.ids), 1):
            found = f"keypoints of shape {labels.keypoints.shape} for {len(labels.ids)} ids in frame {frame}"
            fail(file, f"{found}, expected one each", "this format holds nothing else")
        rows, keypoints = np.searchsorted(ids, labels.ids), labels.keypoints.reshape(-1, 3)
        places[rows, frame] = (keypoints[:, :2] + 0.5) / (clip.width, clip.height)
        occluded[rows, frame] = keypoints[:, 2] <= 0
    np.savez(file, points=places, occluded=occluded, ids=ids)


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the points of a clip.

    Raises:
        DataError: The file is missing or damaged, or its arrays do not fit each other or the clip.
    """
    file = inside(folder, f"{clip.name}.npz")
    places, occluded, ids = read_npz(file, ("points", "occluded", "ids"))
    expected = (len(ids) if ids.ndim == 1 else -1, clip.length)
    if places.shape != (*expected, 2) or occluded.shape != expected:
        found = f"points of shape {places.shape}, occluded {occluded.shape}, ids {ids.shape}"
        fail(file, found, f"expected (point, {clip.length}, 2), (point, {clip.length}) and (point,)")
    if places.dtype.kind not in "fiu" or occluded.dtype.kind not in "bui" or ids.dtype.kind not in "iu":
        found = f"arrays of types {places.dtype}, {occluded.dtype} and {ids.dtype}"
        fail(file, found, "expected floats, booleans and integers")
    if len(np.unique(ids)) < len(ids):
        fail(file, "an id that occurs twice", "give each point an id of its own")
    pixels = places.astype(np.float64) * (clip.width, clip.height) - 0.5
    if (np.abs(pixels) > FARTHEST).any():
        fail(file, "a point that is no place in the frame", "expected x and y as shares of width and height")
    there = np.isfinite(pixels[..., 0]) & np.isfinite(pixels[..., 1])
    table = np.concatenate([pixels, occluded[..., None] == 0], axis=2)
    return tuple(
        Labels(ids=ids[rows].astype(np.int64), keypoints=table[rows, frame, None])
        for frame in range(clip.length)
        for rows in [np.flatnonzero(there[:, frame])]
    )
