"""KITTI-MOTS: `training/image_02/<clip>`, truth in `instances_txt/<clip>.txt` (RLE) or `instances/<clip>`
(16-bit PNG).

Both forms say the same: id = 1000 x class + instance, class 1 car, 2 pedestrian, 10 the region to ignore. A
clip's frames are the files there are; frame numbers of the text form are the numbers in the file names and
start at 0.

Reference:
    Voigtlaender et al., CVPR 2019: https://www.vision.rwth-aachen.de/page/mots (format and split).
"""

from pathlib import Path

import numpy as np

from unibench.datasets import mots
from unibench.datasets.clips import image_clip
from unibench.datasets.files import fail, found_clips, inside, require_folder, subfolders
from unibench.datasets.images import distinct, frame_number, image_size, list_images, read_ids
from unibench.geometry import masks
from unibench.records import Clip, Truth

FPS = 10.0
VAL = ("0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018")
"""The official validation clips."""
VOCABULARY = mots.VOCABULARY


def names(root: Path) -> list[str]:
    """List the official validation clips if all of them are there, else every clip with truth.

    Raises:
        DataError: There are none.
    """
    folder = require_folder(root / "training" / "image_02", "KITTI-MOTS: training/image_02 and instances_txt")
    clips = [
        clip.name
        for clip in subfolders(folder)
        if _text(root, clip.name).is_file() or (root / "instances" / clip.name).is_dir()
    ]
    if set(VAL) <= set(clips):
        return list(VAL)
    return found_clips(
        clips, root, "instances_txt/<clip>.txt or instances/<clip> for a clip in training/image_02"
    )


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; the text form of the truth is preferred, as it needs no decoding.

    Args:
        root: The benchmark's folder.
        name: Clip, four digits.

    Raises:
        DataError: Files are missing or malformed.
    """
    images = list_images(inside(root / "training" / "image_02", name))
    size = image_size(images[0])
    source = _text(root, name)
    if source.is_file():
        rows = mots.read_rows(source, tuple(frame_number(path) for path in images), size)
    else:
        source = require_folder(root / "instances" / name, f"the truth of clip {name!r}")
        rows = [_read_png(source / f"{image.stem}.png", size) for image in images]
    return image_clip(name, images, FPS, vocabulary=VOCABULARY), mots.truth_of(source, rows)


def _text(root: Path, name: str) -> Path:
    return inside(root / "instances_txt", f"{name}.txt")


def _read_png(file: Path, size: tuple[int, int]) -> list[mots.Row]:
    values = read_ids(file, size)
    ids = np.setdiff1d(distinct(values), [0])
    kinds = ids // 1000
    if not np.isin(kinds, (1, 2, mots.IGNORE)).all():
        fail(
            file,
            f"ids {ids.tolist()}, expected 1000 x class + instance",
            "the file is damaged; fetch it again",
        )
    return [(int(one), int(kind), masks.encode(values == one)) for one, kind in zip(ids, kinds, strict=True)]
