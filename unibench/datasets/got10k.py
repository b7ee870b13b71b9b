"""GOT-10k: `val/<clip>/{00000001.jpg, groundtruth.txt, absence.label, cover.label}`, 1-based boxes, 10 frames a second.

Reference:
    Huang, Zhao, Huang: GOT-10k, PAMI 2021 (layout; the truth of the test split is not public).
"""

from pathlib import Path

import numpy as np

from unibench.datasets.files import (
    fail,
    found_clips,
    inside,
    read_list,
    read_table,
    require_folder,
    subfolders,
)
from unibench.datasets.images import list_images
from unibench.datasets.lasot import read_flags
from unibench.datasets.otb import read_boxes, single_target
from unibench.records import Clip, Truth

FPS = 10.0


def names(root: Path) -> list[str]:
    """List the validation clips: those of `val/list.txt`, without it all that have truth.

    Raises:
        DataError: There are none.
    """
    folder = require_folder(root / "val", "GOT-10k: val/<clip>/groundtruth.txt")
    if (folder / "list.txt").is_file():
        return found_clips(read_list(folder / "list.txt"), folder / "list.txt", "names of clips")
    clips = [clip.name for clip in subfolders(folder) if (clip / "groundtruth.txt").is_file()]
    return found_clips(clips, folder, "<clip>/groundtruth.txt")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; frames in which the target is absent are not scored.

    Args:
        root: The benchmark's folder.
        name: Clip, `GOT-10k_Val_000001`.

    Raises:
        DataError: Files are missing or malformed, or the numbers of boxes and of frames differ.
    """
    folder = inside(root / "val", name)
    images = list_images(folder)
    file = folder / "groundtruth.txt"
    boxes = read_boxes(file)
    if len(boxes) != len(images):
        fail(file, f"{len(boxes)} boxes for {len(images)} frames", "the clip is incomplete; fetch it again")
    hidden = read_flags(folder / "absence.label", len(boxes))
    cover = folder / "cover.label"  # 0 (nothing of the target is visible) to 8; the toolkit scores by it
    if cover.is_file():
        hidden = read_table(cover, range(1, 2)).values[:, 0] == 0
    if len(hidden) != len(boxes):
        fail(cover, f"{len(hidden)} values for {len(boxes)} frames", "the clip is damaged; fetch it again")
    return single_target(name, images, np.where(hidden[:, None], np.nan, boxes), FPS, file)
