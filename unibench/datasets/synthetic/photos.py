"""The photographs of the `synthetic` benchmark: windows of images that come inside scikit-image's wheel."""

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from io import BytesIO

import numpy as np
from jaxtyping import Float
from PIL import Image

from unibench.errors import DataError


@dataclass(frozen=True)
class Window:
    """A rectangle of a photograph."""

    photo: str
    """File name without its ending; lossless files only, so that every decoder gives the same bytes."""
    box: tuple[int, int, int, int]
    """xyxy, pixels of the photograph."""
    dye: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green, blue."""
    common: tuple[float, float, float] | None = None
    """Mean colour towards which the dyed window's own is moved, 0 to 255; None: it keeps its own."""
    share: float = 0.0
    """How far it is moved: 0 not at all, 1 all the way."""


BACKGROUNDS = (
    Window("motorcycle_left", (0, 0, 741, 500)),
    Window("coffee", (0, 0, 600, 400)),
    Window("chelsea", (0, 0, 451, 300)),
    Window("brick", (0, 0, 512, 512), (0.95, 0.75, 0.65)),
    Window("grass", (0, 0, 512, 512), (0.75, 0.9, 0.55)),
    Window("gravel", (0, 0, 512, 512), (0.95, 0.9, 0.8)),
)
FABRICS = (  # several pieces of each kind of cloth
    tuple(
        Window("astronaut", box) for box in ((30, 290, 120, 430), (115, 290, 205, 440), (215, 290, 300, 440))
    ),
    tuple(Window("astronaut", box) for box in ((0, 30, 60, 130), (0, 130, 70, 260), (0, 260, 50, 380))),
    tuple(Window("chelsea", box) for box in ((140, 5, 240, 105), (60, 40, 140, 150), (30, 130, 130, 250))),
    tuple(Window("coffee", box) for box in ((440, 200, 540, 340), (480, 20, 580, 160), (20, 250, 110, 390))),
    tuple(Window("ihc", box) for box in ((20, 20, 130, 170), (130, 30, 230, 200), (300, 50, 400, 200))),
    tuple(Window("ihc", box) for box in ((330, 270, 430, 420), (170, 250, 260, 400), (410, 200, 510, 340))),
    tuple(
        Window("motorcycle_left", box)
        for box in ((340, 240, 440, 360), (540, 50, 640, 150), (120, 240, 220, 380))
    ),
    tuple(Window("coffee", box) for box in ((90, 150, 190, 300), (160, 20, 260, 160), (400, 140, 470, 280))),
)
TROUSERS = (
    Window("brick", (50, 50, 250, 350), (0.4, 0.5, 0.9)),
    Window("grass", (50, 50, 150, 250), (0.6, 0.5, 0.35)),
    Window("gravel", (50, 50, 150, 250), (0.4, 0.4, 0.45)),
    Window("motorcycle_left", (150, 160, 300, 220)),
    Window("astronaut", (290, 360, 400, 500)),
    Window("coffee", (20, 60, 120, 160)),
    Window("coins", (10, 30, 130, 290), (0.55, 0.75, 0.6)),
    Window("ihc", (60, 300, 160, 500), (0.6, 0.6, 0.8)),
)
FACE = Window("astronaut", (165, 20, 290, 190))
POST = Window("brick", (20, 0, 60, 512), (0.7, 0.7, 0.75))
OBJECTS = (
    Window("chelsea", (110, 50, 330, 270)),
    Window("chelsea", (130, 60, 240, 170)),
    Window("coffee", (160, 10, 420, 270)),
    Window("coffee", (310, 220, 430, 340)),
    Window("astronaut", (145, 0, 315, 170)),
    Window("astronaut", (110, 320, 250, 460)),
    Window("motorcycle_left", (320, 220, 480, 380)),
    Window("motorcycle_left", (110, 220, 290, 400)),
    Window("motorcycle_left", (460, 90, 600, 230)),
    Window("ihc", (230, 290, 390, 450)),
    Window("ihc", (270, 60, 430, 220)),
)


def tinted(window: Window, dye: Float[np.ndarray, " 3"]) -> Window:
    """The same window in another colour: `dye` multiplies red, green, blue."""
    red, green, blue = (np.array(window.dye) * dye).tolist()
    if window.common is None:
        return replace(window, dye=(red, green, blue))
    common = (np.array(window.common) * dye).tolist()
    return replace(window, dye=(red, green, blue), common=(common[0], common[1], common[2]))


def alike(window: Window, common: Float[np.ndarray, " 3"], share: float) -> Window:
    """The same window with its mean colour moved towards a common one, by `share` of the way."""
    red, green, blue = common.tolist()
    return replace(window, common=(red, green, blue), share=share)


def beside(window: Window, shift: float, rng: np.random.Generator) -> Window:
    """A look-alike: a window of the same size, moved over the same photograph by `shift` of its side."""
    with read(window.photo) as photo:
        limits = photo.size
    corner = []
    for low, high, limit in zip(window.box[:2], window.box[2:], limits, strict=True):
        step = round(shift * (high - low)) * int(rng.choice((-1, 1)))
        step = step if 0 <= low + step <= limit - high + low else -step
        corner.append(min(max(low + step, 0), limit - high + low))
    (x, y), (left, top, right, bottom) = corner, window.box
    return replace(window, box=(x, y, x + right - left, y + bottom - top))


def read(photo: str) -> Image.Image:
    """Open a photograph of scikit-image; nothing is downloaded, and pixels are decoded when they are used.

    Raises:
        DataError: The installed scikit-image has no such file.
    """
    path = resources.files("skimage.data").joinpath(f"{photo}.png")
    if not path.is_file():
        raise DataError(
            f"synthetic: scikit-image has no {path.name!r}, expected it inside the wheel; "
            "reinstall scikit-image 0.25 or newer"
        )
    return Image.open(BytesIO(path.read_bytes()))


def cut(window: Window, size: tuple[int, int]) -> Image.Image:
    """The window as an RGB image of (width, height) pixels."""
    piece = _decoded(window.photo).crop(window.box)
    factors = np.array(window.dye)
    if window.common is not None:
        mean = np.maximum(1.0, factors * np.asarray(piece).mean(axis=(0, 1)))
        factors *= 1 + window.share * (np.array(window.common) / mean - 1)
    piece = piece.resize(size, Image.Resampling.BICUBIC)
    if (factors == 1.0).all():
        return piece
    table = [min(255, round(level * factor)) for factor in factors.tolist() for level in range(256)]
    return piece.point(table)


@cache
def _decoded(photo: str) -> Image.Image:
    """The pixels of a photograph, RGB: it is decoded once, for there are ten and each clip cuts a dozen pieces."""
    with read(photo) as image:
        return image.convert("RGB")
