"""Pixels of the `synthetic` benchmark: silhouettes, and images with the textures, the light and the noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter

from unibench.datasets.synthetic.figure import Part
from unibench.datasets.synthetic.photos import cut
from unibench.datasets.synthetic.scene import HEIGHT, WIDTH, Actor, Scene, draws

_BLOB = 96  # side of a rigid object's texture, pixels
_SIZES = {"body": (40, 60), "legs": (24, 48), "head": (32, 44)}
_OPAQUE = 128


@dataclass(frozen=True, eq=False)
class Silhouette:
    """All that an actor covers in one frame, seen alone; it may reach beyond the frame."""

    left: int
    top: int
    cover: UInt8[np.ndarray, "row column"]
    """0 to 255; a pixel belongs to the actor from 128 on."""

    def area(self) -> int:
        """Pixels of the actor, inside the frame or not."""
        return int((self.cover >= _OPAQUE).sum())

    def claim(self, canvas: Int[np.ndarray, "height width"], number: int) -> None:
        """Write `number` on the actor's pixels inside the canvas."""
        rows = slice(max(self.top, 0), max(self.top + self.cover.shape[0], 0))
        columns = slice(max(self.left, 0), max(self.left + self.cover.shape[1], 0))
        window = canvas[rows, columns]
        part = self.cover[max(-self.top, 0) :, max(-self.left, 0) :][: window.shape[0], : window.shape[1]]
        window[part >= _OPAQUE] = number


@dataclass(frozen=True, eq=False)
class _Stamp:
    """One texture to be printed on the canvas."""

    piece: int
    """Index of the actor's part; 0 where it has none."""
    fabric: str
    left: int
    top: int
    cover: UInt8[np.ndarray, "row column"]
    to_texture: tuple[float, ...]
    """Affine map from the stamp's pixels to the unit square of the texture, row by row."""


def silhouette(actor: Actor, index: int) -> Silhouette:
    """What the actor covers in frame `index`.

    Args:
        actor: A figure or a rigid object.
        index: The frame.
    """
    stamps = _stamps(actor, index)
    left, top = min(stamp.left for stamp in stamps), min(stamp.top for stamp in stamps)
    right = max(stamp.left + stamp.cover.shape[1] for stamp in stamps)
    bottom = max(stamp.top + stamp.cover.shape[0] for stamp in stamps)
    cover = np.zeros((bottom - top, right - left), dtype=np.uint8)
    for stamp in stamps:
        height, width = stamp.cover.shape
        window = cover[stamp.top - top :, stamp.left - left :][:height, :width]
        np.maximum(window, stamp.cover, out=window)
    return Silhouette(left, top, cover)


def back_to_front(scene: Scene, index: int) -> list[int]:
    """Indices of the scene's actors in the order in which they are painted in frame `index`."""
    return sorted(range(len(scene.actors)), key=lambda number: float(scene.actors[number].depth[index]))


def images(scene: Scene) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Paint the scene, frame by frame.

    Args:
        scene: What to paint.

    Yields:
        (height, width, 3) RGB, 0 to 255.
    """
    width, height = _background_size(scene)
    background = cut(scene.background, (width, height))
    textures = [
        {fabric: cut(window, _texture_size(actor, fabric)) for fabric, window in actor.textures.items()}
        for actor in scene.actors
    ]
    for index in range(scene.length):
        linear, shift = scene.camera[index, :, :2], scene.camera[index, :, 2] + (width / 2, height / 2)
        view = (*linear[0], shift[0], *linear[1], shift[1])
        canvas = background.transform(
            (WIDTH, HEIGHT), Image.Transform.AFFINE, view, Image.Resampling.BILINEAR
        )
        for number in back_to_front(scene, index):
            for stamp in _stamps(scene.actors[number], index):
                _print(canvas, stamp, textures[number][stamp.fabric])
        yield _photograph(scene, index, canvas)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What is seen in one frame, as geometry: the pieces of the actors, counted from 1, and the background, 0."""

    owner: Int[np.ndarray, "height width"]
    """The piece that is seen in each pixel."""
    to_frame: Float[np.ndarray, "piece 2 3"]
    """From a piece's own coordinates, in which its texture lies still, to pixels (0.5 is the middle of pixel 0)."""
    actors: Int[np.ndarray, " piece"]
    """Index of the actor of each piece; -1 for the background."""


def surfaces(scene: Scene, index: int) -> Surfaces:
    """Say which surface is seen where in frame `index`, and where every point of a surface is."""
    counts = [max(1, len(actor.parts)) for actor in scene.actors]
    firsts = np.cumsum([1, *counts])
    owner = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    to_frame = np.zeros((1 + sum(counts), 2, 3))
    to_frame[0] = _inverse(scene.camera[index])
    for number in back_to_front(scene, index):
        for stamp in _stamps(scene.actors[number], index):
            place = int(firsts[number]) + stamp.piece
            Silhouette(stamp.left, stamp.top, stamp.cover).claim(owner, place)
            to_frame[place] = _inverse(np.reshape(stamp.to_texture, (2, 3)))
            to_frame[place, :, 2] += (stamp.left, stamp.top)
    return Surfaces(owner, to_frame, np.repeat(np.arange(-1, len(counts)), [1, *counts]))


def _inverse(affine: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    linear = np.linalg.inv(affine[:, :2])
    return np.concatenate([linear, -(linear @ affine[:, 2])[:, None]], axis=1)


def _background_size(scene: Scene) -> tuple[int, int]:
    """The photograph, just large enough for every view of the camera."""
    left, top, right, bottom = scene.background.box
    scale = max(384 / (right - left), 272 / (bottom - top))
    return round(scale * (right - left)), round(scale * (bottom - top))


def _texture_size(actor: Actor, fabric: str) -> tuple[int, int]:
    return (_BLOB, _BLOB) if actor.blob is not None else _SIZES.get(fabric, (16, 512))


def _print(canvas: Image.Image, stamp: _Stamp, texture: Image.Image) -> None:
    height, width = stamp.cover.shape
    if stamp.left >= WIDTH or stamp.top >= HEIGHT or stamp.left + width <= 0 or stamp.top + height <= 0:
        return
    across, down = texture.size
    x, y = np.array(stamp.to_texture).reshape(2, 3) * [[across], [down]]
    piece = texture.transform((width, height), Image.Transform.AFFINE, (*x, *y), Image.Resampling.BILINEAR)
    canvas.paste(piece, (stamp.left, stamp.top), Image.fromarray(stamp.cover))


def _stamps(actor: Actor, index: int) -> list[_Stamp]:
    """The actor's pieces in one frame, far to near."""
    place = actor.places[index]
    if actor.blob is not None:
        return [_blob(actor.blob, place)]
    near = sorted(range(len(actor.parts)), key=lambda piece: float(actor.parts[piece].depth[index]))
    return [_capsule(piece, actor.parts[piece], index, place) for piece in near]


def _capsule(piece: int, part: Part, index: int, place: Float[np.ndarray, "2 3"]) -> _Stamp:
    first, second = part.ends[index] @ place[:, :2].T + place[:, 2]
    size = float(np.sqrt(abs(np.linalg.det(place[:, :2]))))
    thick, thin = (part.radii[index] * size).tolist()
    wide = max(thick, thin)
    left, top = np.floor(np.minimum(first, second) - wide - 1).astype(int).tolist()
    right, bottom = np.ceil(np.maximum(first, second) + wide + 1).astype(int).tolist()
    axis = second - first
    length = max(float(np.sqrt(axis @ axis)), 1e-6)
    way = axis / length
    x = np.arange(left, right)[None, :] + 0.5 - first[0]
    y = np.arange(top, bottom)[:, None] + 0.5 - first[1]
    along = np.clip(x * way[0] + y * way[1], 0.0, length)
    distance = np.sqrt((x - along * way[0]) ** 2 + (y - along * way[1]) ** 2)
    edge = (thick + (thin - thick) * along / length - distance) * 255 + _OPAQUE
    cover = np.clip(edge, 0, 255).astype(np.uint8)
    # The texture spans the axis and the round ends, plus a pixel: outside it PIL paints black.
    reach, side = length + thick + thin + 2, 2 * wide + 2
    start = first - (left, top)
    u = (-way[1] / side, way[0] / side, (start[0] * way[1] - start[1] * way[0]) / side + 0.5)
    v = (way[0] / reach, way[1] / reach, (-start[0] * way[0] - start[1] * way[1] + thick + 1) / reach)
    return _Stamp(piece, part.fabric, left, top, cover, (*map(float, u), *map(float, v)))


def _blob(blob: Float[np.ndarray, "harmonic 2"], place: Float[np.ndarray, "2 3"]) -> _Stamp:
    reach = 1.0 + float(np.abs(blob[:, 0]).sum())  # of the outline, in units of the object's radius
    linear, middle = place[:, :2], place[:, 2]
    extent = reach * np.sqrt((linear**2).sum(axis=1))
    left, top = np.floor(middle - extent - 1).astype(int).tolist()
    right, bottom = np.ceil(middle + extent + 1).astype(int).tolist()
    back = np.linalg.inv(linear)
    shift = back @ ((left, top) - middle)
    x, y = np.arange(right - left)[None, :] + 0.5, np.arange(bottom - top)[:, None] + 0.5
    u = back[0, 0] * x + back[0, 1] * y + shift[0]
    v = back[1, 0] * x + back[1, 1] * y + shift[1]
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for harmonic, (amplitude, phase) in enumerate(blob, start=2):
        outline += amplitude * np.cos(harmonic * angle + phase)
    size = float(np.sqrt(abs(np.linalg.det(linear))))
    edge = (outline - np.sqrt(u**2 + v**2)) * size * 255 + _OPAQUE
    cover = np.clip(edge, 0, 255).astype(np.uint8)
    # The actor's y points upwards, the texture's downwards; the outline fills the texture but for a margin.
    half = 2.1 * reach
    rows = ((*back[0] / half, shift[0] / half + 0.5), (*-back[1] / half, -shift[1] / half + 0.5))
    return _Stamp(0, "whole", left, top, cover, tuple(float(value) for row in rows for value in row))


def _photograph(scene: Scene, index: int, canvas: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Lens, light and sensor: blur, pools of light, a colour cast and noise."""
    knobs, rng = scene.difficulty, draws(scene.seed, "sensor", index)
    wave = draws(scene.seed, "light").uniform(0, 2 * np.pi, 6)
    if knobs.blur:
        canvas = canvas.filter(ImageFilter.GaussianBlur(knobs.blur * rng.uniform(0.0, 1.0)))
    x = np.sin(np.arange(WIDTH) * 0.022 + wave[0] + 0.25 * index)
    y = np.sin(np.arange(HEIGHT) * 0.019 + wave[1] - 0.18 * index)
    flicker = 1 + 0.3 * knobs.light * np.sin(0.9 * index + wave[2])
    field = np.float32(flicker) * (1 + knobs.light * x[None, :] * y[:, None]).astype(np.float32)
    cast = (1 + knobs.tint * np.sin(0.21 * index + wave[3:])).astype(np.float32)
    pixels = np.asarray(canvas, dtype=np.float32) * field[:, :, None] * cast
    pixels += _grain(rng, pixels.shape, knobs.noise)
    image: UInt8[np.ndarray, "height width 3"] = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return image


def _grain(
    rng: np.random.Generator, shape: Sequence[int], deviation: float
) -> Float[np.ndarray, "height width 3"]:
    """Noise from raw bits: the sum of two uniform bytes is nearly bell-shaped, and the same in every NumPy."""
    count = int(np.prod(shape))
    raw = np.asarray(rng.bit_generator.random_raw(count // 4 + 1), dtype="<u8").view(np.uint8)
    pairs = raw[: 2 * count].reshape(2, *shape).astype(np.float32)
    grain: Float[np.ndarray, "height width 3"] = pairs[0] + pairs[1] - np.float32(255)
    return grain * np.float32(deviation / 104.5)
