"""One PNG a frame with DAVIS's palette, whose index is the object's id: DAVIS and YouTube-VOS."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unibench.datasets.clips import image_files
from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import fail, inside
from unibench.datasets.images import HIGHEST, distinct, read_objects
from unibench.geometry import masks
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write one PNG a frame; where masks overlap, the later object is on top.

    Raises:
        DataError: An id has no index of the palette.
    """
    palette = _palette()
    for stem, labels in zip(_stems(clip), predicted, strict=True):
        file = path(folder, f"{clip.name}/{stem}", ".png")
        if ((labels.ids < 1) | (labels.ids > HIGHEST)).any():
            fail(file, f"ids {labels.ids.tolist()}, expected 1 to {HIGHEST}", "PNG masks hold no others")
        values = np.zeros((clip.height, clip.width), dtype=np.uint8)
        for identity, mask in zip(labels.ids.tolist(), labels.masks, strict=True):
            values[masks.decode(mask)] = identity
        image = Image.fromarray(values, mode="P")
        image.putpalette(palette)
        image.save(file)


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read one PNG a frame: the objects that are to be seen in it.

    Raises:
        DataError: A file is missing, damaged or of another size.
    """
    return tuple(_read(inside(folder, f"{clip.name}/{stem}.png"), clip) for stem in _stems(clip))


def _read(file: Path, clip: Clip) -> Labels:
    values = read_objects(file, (clip.height, clip.width))
    ids = np.setdiff1d(distinct(values), [0])
    return Labels(ids=ids, masks=tuple(masks.encode(values == identity) for identity in ids))


def _stems(clip: Clip) -> Iterator[str]:
    if files := image_files(clip):
        return (file.stem for file in files)
    return (f"{index:05d}" for index in range(clip.length))


def _palette() -> bytes:
    """The colours of DAVIS and PASCAL VOC: the bits of an index, three at a time, from the top of red, green, blue."""
    index = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * place + channel)) & 1).astype(np.uint8) << (7 - place)
    return colours.tobytes()
