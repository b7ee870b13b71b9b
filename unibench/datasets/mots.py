"""MOTS20: `train/<clip>/{img1, gt/gt.txt, seqinfo.ini}` with rows `frame id class height width rle`.

Reference:
    Voigtlaender et al., CVPR 2019: https://www.vision.rwth-aachen.de/page/mots (format).
"""

import re
from pathlib import Path

import numpy as np

from unibench.datasets import motchallenge
from unibench.datasets.clips import image_clip
from unibench.datasets.files import EXACT, fail, inside, integer, read_text
from unibench.datasets.images import image_size
from unibench.geometry import masks
from unibench.records import EXCUSED, Clip, Labels, Rle, Truth

VOCABULARY = ("", "car", "pedestrian")
"""Class 1 is car, class 2 is pedestrian, in MOTS20 and in KITTI-MOTS."""
IGNORE = 10
"""Class of the region in which nothing is annotated."""
Row = tuple[int, int, Rle]
"""Id, class and mask of one object."""


def names(root: Path) -> list[str]:
    """List the clips of the training split.

    Raises:
        DataError: There are none.
    """
    return motchallenge.names(root)


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip.

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Files are missing or malformed.
    """
    folder = inside(root / "train", name)
    images, info, numbers = motchallenge.open_sequence(folder)
    file = folder / "gt" / "gt.txt"
    rows = read_rows(file, numbers, image_size(images[0]))
    return image_clip(name, images, info.fps, vocabulary=VOCABULARY), truth_of(file, rows)


def truth_of(source: Path, frames: list[list[Row]]) -> Truth:
    """Make the truth of a clip: objects by id, and the region in which predictions are excused.

    Args:
        source: Where the rows come from, for the message.
        frames: The rows of each frame.

    Raises:
        DataError: There is no object in any frame.
    """
    if not any(kind != IGNORE for rows in frames for _, kind, _ in rows):
        fail(
            source, "an empty annotation, expected at least one object", "the file is damaged; fetch it again"
        )
    labels = tuple(labels_of([row for row in rows if row[1] != IGNORE]) for rows in frames)
    regions = [tuple(mask for _, kind, mask in rows if kind == IGNORE) for rows in frames]
    ignored = tuple(Labels(masks=some, classes=np.full(len(some), EXCUSED)) for some in regions)
    return Truth(labels, ignored)


def labels_of(rows: list[Row]) -> Labels:
    """Make the labels of one frame, ordered by id."""
    rows = sorted(rows, key=lambda row: row[0])
    return Labels(
        ids=np.array([row[0] for row in rows], dtype=np.int64),
        masks=tuple(row[2] for row in rows),
        classes=np.array([row[1] for row in rows], dtype=np.int64),
    )


def read_rows(
    file: Path, numbers: tuple[int, ...], size: tuple[int, int], kinds: tuple[int, ...] = (1, 2, IGNORE)
) -> list[list[Row]]:
    """Read rows `frame id class height width rle`, separated by spaces, tabs or commas (which no rle holds).

    Args:
        file: Text file.
        numbers: The number of each frame of the clip.
        size: (height, width) of its frames in pixels.
        kinds: Classes that a row may have.

    Returns:
        The rows of each frame, in the file's order.

    Raises:
        DataError: A row is malformed, of another size, of a frame that does not exist, or repeats an id.
    """
    position = {number: index for index, number in enumerate(numbers)}
    frames: list[list[Row]] = [[] for _ in numbers]
    seen: set[tuple[int, int]] = set()
    for line, text in enumerate(read_text(file).splitlines(), start=1):
        if not text.strip():
            continue
        number, row = _row(f"{file}:{line}", re.split(r"[\s,]+", text.strip()), size, kinds)
        if number not in position:
            fail(
                f"{file}:{line}",
                f"no such frame {number}",
                f"the clip has frames {numbers[0]} to {numbers[-1]}",
            )
        if row[1] != IGNORE and (number, row[0]) in seen:
            fail(f"{file}:{line}", f"id {row[0]} stands twice in this frame", "remove one of the two lines")
        seen.add((number, row[0]))
        frames[position[number]].append(row)
    return frames


def read_detections(file: Path, numbers: tuple[int, ...], size: tuple[int, int]) -> tuple[Labels, ...]:
    """Read detections in the same rows; ids only tell the rows of a frame apart, every score is 1.

    Args:
        file: Text file.
        numbers: The number of each frame of the clip.
        size: (height, width) of its frames in pixels.

    Raises:
        DataError: As `read_rows`.
    """
    frames = read_rows(file, numbers, size)
    return tuple(
        Labels(
            masks=tuple(row[2] for row in rows),
            scores=np.ones(len(rows)),
            classes=np.array([row[1] for row in rows], dtype=np.int64),
        )
        for rows in frames
    )


def _row(where: str, fields: list[str], size: tuple[int, int], kinds: tuple[int, ...]) -> tuple[int, Row]:
    if len(fields) != 6:
        fail(
            where, f"{len(fields)} columns, expected 6: frame id class height width rle", "correct this line"
        )
    number, identity, kind, height, width = (integer(field, where) for field in fields[:5])
    if abs(identity) >= EXACT:
        fail(where, f"id {identity}, expected one below 2^53", "correct this line")
    if (height, width) != size:
        found = f"a mask of {width}x{height} pixels, expected the frame's {size[1]}x{size[0]}"
        fail(where, found, "use masks of the same resolution")
    if kind not in kinds:
        known = "1 (car), 2 (pedestrian) or 10 (ignore)" if IGNORE in kinds else f"one of {kinds}"
        fail(where, f"class {kind}, expected {known}", "correct this line")
    counts = fields[5].encode()
    if not masks.covers(counts, height * width):
        fail(where, "a run-length mask that does not fill its frame", "the file is damaged; fetch it again")
    return number, (identity, kind, {"size": [height, width], "counts": counts})
