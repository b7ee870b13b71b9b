"""Images and annotation images, decoded by Pillow, with errors that name the file."""

import re
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from unibench.datasets.files import fail, require_folder

SUFFIXES = (".jpg", ".jpeg", ".png")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_PLAIN_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")


def list_images(folder: Path) -> list[Path]:
    """List the images of a clip in the order of the numbers in their names.

    A clip may start at any number and may hold every second, fifth, ... frame; a gap among evenly numbered
    files is an error.

    Raises:
        DataError: the folder or a frame is missing, a name has no number, or there are no images.
    """
    require_folder(folder, "the frames of a clip")
    images = [item for item in folder.iterdir() if item.suffix.lower() in SUFFIXES and item.name[0] != "."]
    if not images:
        fail(folder, "no images", f"expected files that end in {', '.join(SUFFIXES)}")
    images.sort(key=lambda path: (frame_number(path), path.name))
    numbers = [frame_number(path) for path in images]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = max(set(steps), key=lambda step: (steps.count(step), -step), default=1)
    for number, step in zip(numbers, steps, strict=False):
        if step == 0:
            fail(folder, f"two images are numbered {number}", "remove one of them")
        if step != usual:
            fail(folder, f"frame {number + usual} is missing", "the data set is incomplete; fetch it again")
    return images


def frame_number(path: Path) -> int:
    """Number at the end of an image's name: 300 for `0300.jpg`, 7 for `frame_000007.png`.

    Raises:
        DataError: there is none.
    """
    match = re.search(r"(\d+)$", path.stem)
    if match is None:
        fail(path, "the name holds no frame number", "expected a name such as 000001.jpg")
    return int(match.group(1))


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an image: (height, width, 3) RGB, 0 to 255.

    Raises:
        DataError: it is missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except _BROKEN as error:
        _refuse(path, error)


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (height, width) in pixels from its header.

    Raises:
        DataError: it is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _BROKEN as error:
        _refuse(path, error)


def read_ids(path: Path, size: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    """Decode an annotation image: (height, width) palette index, grey value or 16-bit value of each pixel.

    Args:
        path: annotation image; colour images are accepted if they are grey.
        size: (height, width) that it must have, in pixels.

    Raises:
        DataError: it is missing, damaged, coloured, or has another size.
    """
    try:
        with Image.open(path) as image:
            plain = image.mode in _PLAIN_MODES
            values = np.array(image if plain else image.convert("RGB")).astype(np.int64)
    except _BROKEN as error:
        _refuse(path, error)
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            fail(path, "a colour image, expected palette or grey values", "store object ids, not colours")
        values = values[:, :, 0]
    if values.shape != size:
        found = f"{values.shape[1]}x{values.shape[0]} pixels, expected the frame's {size[1]}x{size[0]}"
        fail(path, found, "use the annotation of the same resolution")
    return values


def _refuse(path: Path, error: Exception) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        fail(path, "no such image", "the data set is incomplete; fetch it again")
    detail = " ".join(str(error).split())
    fail(path, f"not a whole image ({detail})", "the file is damaged; fetch it again")
