"""One box a frame, as OTB, LaSOT and GOT-10k have it: `x,y,width,height` from 1, NaN where there is none."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import fail, inside
from unibench.datasets.otb import read_boxes
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write `<clip>.txt`."""
    _write(path(folder, clip.name, ".txt"), predicted)


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read `<clip>.txt`.

    Raises:
        DataError: The file is missing or malformed, or has not one row a frame.
    """
    return _read(inside(folder, f"{clip.name}.txt"), clip)


def write_got10k(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write `<clip>/<clip>_001.txt`, the first of the runs that GOT-10k's toolkit looks for."""
    _write(path(folder, f"{clip.name}/{clip.name}", "_001.txt"), predicted)


def read_got10k(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read `<clip>/<clip>_001.txt`.

    Raises:
        DataError: As `read`.
    """
    return _read(inside(folder, f"{clip.name}/{clip.name}_001.txt"), clip)


def _write(file: Path, predicted: Sequence[Labels]) -> None:
    with file.open("w") as opened:
        for labels in predicted:
            box = labels.boxes[0] if len(labels.boxes) else np.full(4, np.nan)
            row = [*(box[:2] + 1).tolist(), *(box[2:] - box[:2]).tolist()]
            opened.write(f"{','.join(map(repr, row))}\n")


def _read(file: Path, clip: Clip) -> tuple[Labels, ...]:
    rows = read_boxes(file)
    if len(rows) != clip.length:
        fail(file, f"{len(rows)} boxes, expected {clip.length} as the clip has frames", "write one a frame")
    absent = np.isnan(rows).all(axis=1)
    for wrong in np.flatnonzero(~absent & (np.isnan(rows).any(axis=1) | (rows[:, 2:] < 0).any(axis=1))):
        fail(
            file, f"box {wrong + 1} is {rows[wrong].tolist()}, expected numbers, width and height of 0 or more",
            "four NaN say that there is none",
        )  # fmt: skip
    corners = rows[:, :2] - 1
    boxes = np.concatenate([corners, corners + rows[:, 2:]], axis=1)
    one = np.array([1], dtype=np.int64)
    return tuple(
        Labels() if none else Labels(ids=one, boxes=box[None])
        for none, box in zip(absent, boxes, strict=True)
    )
