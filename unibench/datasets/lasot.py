"""LaSOT: `<class>/<clip>/{img/*.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt}`, 1-based boxes.

Reference:
    Fan et al.: LaSOT, CVPR 2019 (layout, protocol II: the 280 clips of `testing_set.txt`).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from unibench.datasets.files import (
    fail,
    found_clips,
    inside,
    read_list,
    read_text,
    require_folder,
    visible,
)
from unibench.datasets.images import list_images
from unibench.datasets.otb import read_boxes, single_target
from unibench.records import Clip, Truth

FPS = 30.0  # the benchmark does not say


def names(root: Path) -> list[str]:
    """List the clips: those of `testing_set.txt`, without it all that have truth.

    Raises:
        DataError: There are none.
    """
    require_folder(root, "LaSOT: <class>/<clip>/img and groundtruth.txt")
    tested = root / "testing_set.txt"
    if tested.is_file():
        return found_clips(read_list(tested), tested, "names of clips")
    clips = sorted(file.parent.name for file in visible(root, "*/*/groundtruth.txt"))
    return found_clips(clips, root, "<class>/<clip>/groundtruth.txt")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; frames in which the target is hidden or out of view are not scored.

    Args:
        root: The benchmark's folder.
        name: Clip, `airplane-1`.

    Raises:
        DataError: Files are missing or malformed, or the numbers of boxes and of frames differ.
    """
    folder = inside(root, f"{name.rpartition('-')[0]}/{name}")
    images = list_images(folder / "img")
    file = folder / "groundtruth.txt"
    boxes = read_boxes(file)
    if len(boxes) != len(images):
        found = f"{len(boxes)} boxes for {len(images)} frames in {folder / 'img'}"
        fail(file, found, "the clip is incomplete; fetch it again")
    for flags in (folder / "full_occlusion.txt", folder / "out_of_view.txt"):
        boxes = np.where(read_flags(flags, len(boxes))[:, None], np.nan, boxes)
    return single_target(name, images, boxes, FPS, file)


def read_flags(file: Path, length: int) -> Bool[np.ndarray, " frame"]:
    """Read one 0 or 1 for each frame, in one line or in many.

    Args:
        file: Text file.
        length: Number of frames.

    Raises:
        DataError: There is another number of flags, or something else than 0 and 1.
    """
    flags = read_text(file).replace(",", " ").split()
    if len(flags) != length or not set(flags) <= {"0", "1"}:
        fail(
            file, f"{len(flags)} flags, expected {length} times 0 or 1", "the clip is damaged; fetch it again"
        )
    return np.array([flag == "1" for flag in flags])
