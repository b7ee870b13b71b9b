"""MOTChallenge rows of tracks: `frame,id,left,top,width,height,score,-1,-1,-1`.

Where the benchmark has several classes, the eighth column is the class, counted from 1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets.clips import frame_numbers
from unibench.datasets.files import inside
from unibench.datasets.motchallenge import read_tracks
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the boxes of a clip; a score that a tracker does not give is 1."""
    with path(folder, clip.name, ".txt").open("w") as file:
        for number, labels in zip(frame_numbers(clip), predicted, strict=True):
            corners, sides = labels.boxes[:, :2], labels.boxes[:, 2:] - labels.boxes[:, :2]
            scores = labels.scores if len(labels.scores) else np.ones(len(labels.ids))
            rows = np.column_stack([corners, sides, scores]).tolist()
            kinds = (
                (labels.classes + 1).tolist() if _classes(clip) and len(labels.classes) else [-1] * len(rows)
            )
            for identity, row, kind in zip(labels.ids.tolist(), rows, kinds, strict=True):
                file.write(f"{number},{identity},{','.join(map(repr, row))},{kind},-1,-1\n")


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the boxes of a clip.

    Raises:
        DataError: The file is missing or malformed.
    """
    return read_tracks(inside(folder, f"{clip.name}.txt"), frame_numbers(clip), _classes(clip))


def _classes(clip: Clip) -> int:
    """Number of classes to tell apart; 0 where it goes without saying."""
    return len(clip.vocabulary) if len(clip.vocabulary) > 1 else 0


def path(folder: Path, name: str, suffix: str) -> Path:
    """A clip's file, whose folder is made; a clip's name may have several levels."""
    file = inside(folder, name + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
