"""DAVIS 2016 and 2017: `JPEGImages/480p/<clip>`, `Annotations/480p/<clip>` (PNG), `ImageSets/<year>/val.txt`.

Reference:
    Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv 1704.00675; objects counted as in
    davis2017-evaluation.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from unibench.datasets.clips import image_clip
from unibench.datasets.files import fail, found_clips, inside, read_list, require_folder, subfolders, visible
from unibench.datasets.images import (
    VOID,
    distinct,
    image_size,
    list_images,
    read_ids,
    read_objects,
    refuse_shades,
)
from unibench.geometry import masks
from unibench.records import Clip, Labels, Truth

FPS = 24.0
RESOLUTION = "480p"
_LAYOUT = f"DAVIS: JPEGImages/{RESOLUTION} and Annotations/{RESOLUTION}"


def names_2016(root: Path) -> list[str]:
    """List the clips of DAVIS-2016.

    They are those of `ImageSets/2016/val.txt`; without it those of the first `ImageSets/2016/val*.txt`, then
    of `ImageSets/480p/val.txt` (the list of the 2016 release, one line a frame), then every clip with
    annotations.

    Raises:
        DataError: There are none.
    """
    return _names(root, "2016")


def names_2017(root: Path) -> list[str]:
    """List the clips of DAVIS-2017: those of `ImageSets/2017/val.txt`, else of `val*.txt`, else all
    annotated.

    Raises:
        DataError: There are none.
    """
    return _names(root, "2017")


def load_2016(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip with one object: whatever is not background.

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Frames or annotations are missing, damaged, of another size, or frame 0 has no object.
    """
    return _load(root, name, binary=True)


def load_2017(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip with the objects of its first frame; objects that come later are background, as
    officially.

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Frames or annotations are missing, damaged, of another size, or frame 0 has no object.
    """
    return _load(root, name, binary=False)


def _names(root: Path, year: str) -> list[str]:
    require_folder(root, _LAYOUT)
    lists = root / "ImageSets" / year
    candidates = [lists / "val.txt", *visible(lists, "val*.txt")]
    if year == "2016":
        candidates.append(root / "ImageSets" / RESOLUTION / "val.txt")
    for file in candidates:
        if file.is_file():
            return found_clips(list(dict.fromkeys(map(_clip_name, read_list(file)))), file, "names of clips")
    folder = require_folder(root / "Annotations" / RESOLUTION, _LAYOUT)
    return found_clips([clip.name for clip in subfolders(folder)], folder, "a folder for each clip")


def _clip_name(line: str) -> str:
    """`dog`, or `/JPEGImages/480p/dog/00000.jpg /Annotations/...` in the list of the 2016 release."""
    prefix = f"/JPEGImages/{RESOLUTION}/"
    return line.removeprefix(prefix).split("/")[0] if line.startswith(prefix) else line


def _load(root: Path, name: str, *, binary: bool) -> tuple[Clip, Truth]:
    images = list_images(inside(root / "JPEGImages" / RESOLUTION, name))
    folder = require_folder(
        inside(root / "Annotations" / RESOLUTION, name), f"the annotations of clip {name!r}"
    )
    size = image_size(images[0])
    files = [folder / f"{image.stem}.png" for image in images]
    read = _reader(files[0], size) if binary else read_objects
    first = read(files[0], size)
    ids = np.setdiff1d(distinct(first), [0])
    if not ids.size:
        only_void = (read_ids(files[0], size) == VOID).any()
        found = f"only {VOID}, which is void here" if only_void else "an empty annotation"
        fail(files[0], f"{found}, expected object ids 1, 2, ...",
             "frame 0 must show what to follow; masks of 0 and 255 are of the layout of vos/davis2016")  # fmt: skip
    labels = (_labels(first, ids), *(_labels(read(file, size), ids) for file in files[1:]))
    return image_clip(name, images, FPS, prompt=labels[0]), Truth(labels)


def _reader(
    first: Path, size: tuple[int, int]
) -> Callable[[Path, tuple[int, int]], Int[np.ndarray, "height width"]]:
    """How a mask of one object is read: all of one value, 255 too, or, where frame 0 has other ids, all but void."""
    if np.setdiff1d(distinct(read_ids(first, size)), [0]).size <= 1:
        return _one_value
    return lambda file, size: (read_objects(file, size) > 0).astype(np.int64)


def _one_value(file: Path, size: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    values = read_ids(file, size)
    if np.setdiff1d(distinct(values), [0]).size > 1:
        refuse_shades(file, np.where(values == VOID, 0, values))
    return (values > 0).astype(np.int64)


def _labels(objects: Int[np.ndarray, "height width"], ids: Int[np.ndarray, " object"]) -> Labels:
    """One row for every object, also where it is not in sight (an empty mask)."""
    return Labels(ids=ids, masks=tuple(masks.encode(objects == object_id) for object_id in ids))
