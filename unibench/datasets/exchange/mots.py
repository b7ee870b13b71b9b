"""Rows `frame id class height width rle`: MOTS20 and KITTI-MOTS."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets import mots
from unibench.datasets.clips import frame_numbers
from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import inside
from unibench.records import Clip, Labels

_PEDESTRIAN = 2


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the masks of a clip."""
    with path(folder, clip.name, ".txt").open("w") as file:
        for number, labels in zip(frame_numbers(clip), predicted, strict=True):
            rows = zip(labels.ids.tolist(), _classes(clip, labels), labels.masks, strict=True)
            for identity, kind, mask in rows:
                height, width = mask["size"]
                file.write(f"{number} {identity} {kind} {height} {width} {mask['counts'].decode()}\n")


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the masks of a clip.

    Raises:
        DataError: The file is missing or malformed.
    """
    file, size = inside(folder, f"{clip.name}.txt"), (clip.height, clip.width)
    first = _first_class(clip)
    kinds = tuple(range(max(1, first), first + max(1, len(clip.vocabulary))))
    frames = mots.read_rows(file, frame_numbers(clip), size, kinds)
    return tuple(
        Labels(
            ids=np.array([identity for identity, _, _ in rows], dtype=np.int64),
            masks=tuple(mask for _, _, mask in rows),
            classes=np.array([kind - first for _, kind, _ in rows], dtype=np.int64),
        )
        for rows in frames
    )


def _first_class(clip: Clip) -> int:
    """The number in the rows of the vocabulary's first word: MOTS counts from 1 (its own vocabulary has no word 0)."""
    return 0 if clip.vocabulary == mots.VOCABULARY else 1


def _classes(clip: Clip, labels: Labels) -> list[int]:
    if len(labels.classes):
        return [int(kind) + _first_class(clip) for kind in labels.classes]
    return [_PEDESTRIAN if clip.vocabulary == mots.VOCABULARY else 1] * len(labels.ids)
