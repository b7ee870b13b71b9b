"""YouTube-VOS: `JPEGImages/<clip>` and `Annotations/<clip>` (PNG) of one split, the folder that is named.

Objects enter in any frame. The prompt of an object is the first annotation that shows it (`meta.json` lists the same
and is not read), and every annotated frame is scored. The published truth of `valid` and `test` is that of the prompts
alone: these splits can be tracked, not scored; `train` has every frame, or every fifth one of all frames.

Reference:
    Xu et al., YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark, arXiv 1809.03327.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unibench.datasets.clips import image_clip
from unibench.datasets.files import fail, found_clips, inside, require_folder, subfolders, visible
from unibench.datasets.images import distinct, frame_number, image_size, list_images, read_objects
from unibench.geometry import masks as rle
from unibench.records import Clip, Labels, Truth

FPS = 30.0
"""Of the videos; the frames of a split may be every fifth."""
_LAYOUT = "YouTube-VOS: JPEGImages and Annotations"


def names(root: Path) -> list[str]:
    """List the clips: the folders of `Annotations`.

    Args:
        root: The split's folder.

    Raises:
        DataError: There are none.
    """
    folder = require_folder(root / "Annotations", _LAYOUT)
    return found_clips([clip.name for clip in subfolders(folder)], folder, "a folder for each clip")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; each object is in the prompt of one frame.

    Args:
        root: The split's folder.
        name: Clip.

    Raises:
        DataError: Frames are missing, or an annotation is damaged, of another size, or of no frame; or none shows an
            object.
    """
    images = list_images(inside(root / "JPEGImages", name))
    folder = require_folder(inside(root / "Annotations", name), f"the annotations of clip {name!r}")
    size = image_size(images[0])
    prompts, truth = objects(folder, annotated(folder, images), len(images), size)
    step = frame_number(images[1]) - frame_number(images[0]) if len(images) > 1 else 1
    return image_clip(name, images, FPS / step, prompt=prompts), truth


def objects(
    folder: Path, files: Mapping[int, Path], length: int, size: tuple[int, int]
) -> tuple[dict[int, Labels], Truth]:
    """Read annotations: each object is in the prompt of the first frame that shows it.

    Args:
        folder: Of the annotations, for messages.
        files: Index of each frame that has one -> the file, in order.
        length: Number of frames.
        size: (height, width) of the frames in pixels.

    Returns:
        prompts: Index of a frame -> its prompt.
        truth: Every annotated frame is scored, unless all of them only prompt.

    Raises:
        DataError: An annotation is damaged or of another size, or none shows an object.
    """
    labels, prompts = [Labels()] * length, dict[int, Labels]()
    ids: list[int] = []
    for index, file in files.items():
        values = read_objects(file, size)
        new = [number for number in distinct(values).tolist() if number and number not in ids]
        ids += new
        masks = {number: rle.encode(values == number) for number in ids}
        labels[index] = Labels(ids=np.array(ids, dtype=np.int64), masks=tuple(masks.values()))
        if new:
            prompts[index] = Labels(ids=np.array(new), masks=tuple(masks[number] for number in new))
    if not prompts:
        fail(
            folder,
            "no object in any annotation, expected ids 1, 2, ... (255 is void)",
            "the data set is damaged; fetch it again",
        )
    scored = () if prompts.keys() == files.keys() else tuple(files)
    return prompts, Truth(tuple(labels), scored=scored)


def annotated(folder: Path, images: list[Path]) -> dict[int, Path]:
    """Index of each image that has an annotation of its name, in order -> the file.

    Raises:
        DataError: An annotation is of no image.
    """
    files = {file.stem: file for file in visible(folder, "*.png")}
    if strange := sorted(files.keys() - {image.stem for image in images}):
        fail(files[strange[0]], "an annotation of no frame", "the data set is incomplete; fetch it again")
    return {index: files[image.stem] for index, image in enumerate(images) if image.stem in files}
