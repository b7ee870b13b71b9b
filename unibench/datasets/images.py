"""Images and annotation images, decoded by Pillow, with errors that name the file."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from unibench.datasets.files import fail, integer, require_folder, visible
from unibench.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
"""What a file of such a name may hold: pixels and nothing that is run to get them."""
LONGEST = 32
"""Times that an image may be longer than it is wide: scaled to a network's size, a line of pixels fills the memory."""
VOID = 255
"""Value of the pixels of an annotation of which nothing is said."""
HIGHEST = 100
"""Object ids may not be higher: a grey value above it is a shade of a smoothed edge."""
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError, MemoryError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip
"""What Pillow raises at damaged files."""
_PLAIN_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def list_images(folder: Path) -> list[Path]:
    """List the images of a clip in the order of the numbers in their names.

    A clip may start at any number and may hold every second, fifth, ... frame; a gap among evenly numbered
    files is an error.

    Raises:
        DataError: The folder or a frame is missing, a name has no number, or there are no images.
    """
    require_folder(folder, "the frames of a clip")
    images = [item for item in visible(folder, "*") if item.suffix.lower() in SUFFIXES]
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
        DataError: There is none.
    """
    match = re.search(r"[0-9]+$", path.stem)
    if match is None:
        fail(path, "the name holds no frame number", "expected a name such as 000001.jpg")
    return integer(match.group(), str(path))


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an image: (height, width, 3) RGB, 0 to 255; of 16-bit grey values the upper 8 bits.

    Raises:
        DataError: It is missing, truncated, not an image of one of `FORMATS`, animated, or a line of pixels.
    """
    with _opened(path) as image:
        if image.mode in _DEEP_MODES:  # Pillow's own conversion cuts values off at 255
            upper = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
            return np.repeat(upper[..., None], 3, axis=2)
        if image.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {image.mode!r}, expected 8 or 16 bits")
        return np.array(image.convert("RGB"), dtype=np.uint8)


def decode_jpeg(content: bytes | memoryview, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a JPEG that lies in another file: (height, width, 3) RGB, 0 to 255.

    Args:
        content: The whole JPEG.
        where: For messages.

    Raises:
        DataError: It is none, or damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except _BROKEN as error:
        _refuse(where, error)


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (height, width) in pixels from its header.

    Raises:
        DataError: It is missing, not an image of one of `FORMATS`, animated, or a line of pixels.
    """
    with _opened(path) as image:
        return image.height, image.width


def read_ids(path: Path, size: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    """Decode an annotation image: (height, width) palette index, grey value or 16-bit value of each pixel.

    Args:
        path: Annotation image; colour images are accepted if they are grey.
        size: (height, width) that it must have, in pixels.

    Raises:
        DataError: It is missing, damaged, coloured, or has another size.
    """
    with _opened(path) as image:
        plain = image.mode in _PLAIN_MODES
        values = np.array(image if plain else image.convert("RGB")).astype(np.int64)
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            fail(path, "a colour image, expected palette or grey values", "store object ids, not colours")
        values = values[:, :, 0]
    if values.shape != size:
        found = f"{values.shape[1]}x{values.shape[0]} pixels, expected the frame's {size[1]}x{size[0]}"
        fail(path, found, "use the annotation of the same resolution")
    return values


def read_objects(path: Path, size: tuple[int, int]) -> Int[np.ndarray, "height width"]:
    """Decode an annotation image of several objects: (height, width) id of each pixel, 0 for background and void.

    Args:
        path: Annotation image.
        size: (height, width) that it must have, in pixels.

    Raises:
        DataError: As `read_ids`, or a value is neither `VOID` nor an id of at most `HIGHEST`.
    """
    values = read_ids(path, size)
    objects = np.where(values == VOID, 0, values)
    refuse_shades(path, objects)
    return objects


def refuse_shades(path: Path, values: Int[np.ndarray, "height width"]) -> None:
    """Raise a DataError if a value is no object's id but a shade, as a smoothed or lossy mask has them at its edges."""
    highest = int(values.max(initial=0))
    if highest > HIGHEST:
        fail(path, f"grey value {highest}, expected object ids 1 to {HIGHEST}, or {VOID} for void",
             "store ids without smoothing or compression losses")  # fmt: skip


def distinct(values: Int[np.ndarray, "height width"]) -> Int[np.ndarray, " value"]:
    """The values of an annotation, 0 too, ascending."""
    pixels = values.ravel()
    starts = np.append(
        True, pixels[1:] != pixels[:-1]
    )  # of runs: to sort every pixel takes ten times as long
    return np.unique(pixels[starts])


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image of a known format whose pixels can be decoded; what Pillow raises in between becomes a DataError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise ValueError("no regular file")
        with Image.open(path, formats=FORMATS) as image:
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise ValueError("an animation, expected one frame")
            if max(image.size) > LONGEST * min(image.size):
                found = f"{image.width}x{image.height} pixels"
                raise ValueError(f"{found}, expected a side of at most {LONGEST} times the other")
            yield image
    except DataError:
        raise
    except _BROKEN as error:
        _refuse(path, error)


def _refuse(path: Path | str, error: Exception) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        fail(path, "no such image", "correct the path, or fetch what is missing")
    detail = " ".join(str(error).split()) or type(error).__name__
    fail(path, f"not a whole image ({detail})", "the file is damaged; fetch it again")
