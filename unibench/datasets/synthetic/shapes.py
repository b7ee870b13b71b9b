"""Textured shapes that cross each other: benchmarks of five families, and stills and clips to train on.

Squares, discs and triangles, each with two colours and a pattern of its own, move so fast over a photograph or
over noise that a box often does not overlap with itself a frame later: who is who must be seen. They hide each
other, leave and come back. 128 x 128 pixels, a millisecond a frame, any number of clips, each from a word; the
words of the benchmark start with `mot/shapes/`, which training must not use.

All families see the same clips: `mot/shapes` and `det/shapes` have boxes, `mots/shapes` has the masks of what is
visible, `sot/shapes` follows one shape (`target`), and `vos/shapes` the shapes that are in the truth of frame 0.
`det/noisy` has clips of its own: slow shapes under so much grain that a frame's neighbours help to see it.

The truth: the box of the whole silhouette inside the frame, hidden parts included. A shape of which less than
`VISIBLE` is to be seen is not in the truth; predictions on what is seen of it are excused.
"""

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from unibench.datasets.benchmark import SOURCES, Benchmark
from unibench.datasets.detections import with_detections
from unibench.datasets.synthetic.photos import BACKGROUNDS, cut
from unibench.datasets.synthetic.scene import draws
from unibench.errors import UnknownNameError
from unibench.geometry import masks
from unibench.records import EXCUSED, Clip, Frame, Labels, Rle, Truth

SIZE = 128
"""Height and width of a frame, pixels."""
VOCABULARY = ("square", "disc", "triangle")
TASK = "mot/shapes"
NAMES = tuple(f"shapes-{number}" for number in range(1, 9))
LENGTH, FPS = 40, 10.0
"""Of the benchmark's clips."""
VISIBLE = 0.3
"""Least visible share of a shape in the truth."""
CAST = 7
"""Shapes of a clip; about five of them are in the frame at a time."""
RADII = (12.0, 19.0)
"""Of the circle around a disc; squares and triangles have about its area; pixels."""
SPEEDS = (11.0, 22.0)
"""Pixels in a frame."""
BEYOND = 22.0
"""How far beyond the edge of the frame the middle of a shape goes before it turns round, pixels."""
_PHOTO = 192  # side of the backgrounds, pixels: the camera's window of SIZE pans over it


@dataclass(frozen=True, eq=False)
class Shape:
    """One identity."""

    kind: int
    """Index into `VOCABULARY`."""
    colours: UInt8[np.ndarray, "2 3"]
    pattern: int
    """0 stripes, 1 checks, 2 rings."""
    waves: float
    """Bands from the middle to the edge."""
    radius: float
    places: Float[np.ndarray, "frame 2"]
    """Of the middle: x, y in pixels of the frame."""
    angles: Float[np.ndarray, " frame"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A whole clip before it is painted."""

    word: str
    background: UInt8[np.ndarray, "photo photo 3"]
    window: Float[np.ndarray, "frame 2"]
    """Left and top of what the camera sees of the background."""
    light: Float[np.ndarray, " frame"]
    """Brightness of each frame, relative."""
    shapes: tuple[Shape, ...]
    """The farthest first. Identities are 1, 2, ... in this order."""
    grain: float
    """What the sensor's noise, a random byte from -128 to 127 for each value, is multiplied by."""


@dataclass(frozen=True)
class Look:
    """What differs between kinds of clips."""

    speeds: tuple[float, float] = SPEEDS
    pans: tuple[float, float] = (0.05, 0.3)
    """Range of the camera's and the light's rhythm, radians in a frame."""
    grain: float = 1 / 8
    """See `Scene`."""


SHARP = Look()
NOISY = Look(speeds=(0.3, 1.2), pans=(0.01, 0.03), grain=1.75)


def benchmarks() -> dict[str, Benchmark]:
    """List the benchmarks of the rendered clips, one a family."""
    obtain = "nothing to obtain: rendered from a seed"
    rows = (
        Benchmark(TASK, "", _names, _load, obtain, SOURCES),
        Benchmark("mots/shapes", "", _names, _load_mots, obtain, SOURCES),
        Benchmark("det/shapes", "", _names, _load_without_detections, obtain),
        Benchmark("det/noisy", "", _names, _load_noisy, obtain),
        Benchmark("sot/shapes", "", _names, _load_sot, obtain),
        Benchmark("vos/shapes", "", _names, _load_vos, obtain),
    )
    return {row.task: row for row in rows}


@lru_cache(maxsize=64)
def scene(word: str, length: int, look: Look = SHARP) -> Scene:
    """Plan a clip.

    Args:
        word: The seed; another word gives another clip with other identities.
        length: Number of frames.
        look: How fast and how noisy it is.
    """
    rng = draws("shapes", word)
    hues = (np.arange(CAST) + rng.uniform(-0.25, 0.25, CAST)) / CAST + rng.random()
    shapes = tuple(_shape(rng, float(hue), length, look.speeds) for hue in rng.permutation(hues))
    times, reach = np.arange(length), (_PHOTO - SIZE) / 2
    start, rhythm = rng.uniform(0, 2 * np.pi, 3), rng.uniform(*look.pans, 3)
    pan = reach * (1 + np.sin(start[:2] + rhythm[:2] * times[:, None]))
    light = 1 + 0.15 * np.sin(start[2] + rhythm[2] * times)
    return Scene(word, _background(rng), pan, light, shapes, look.grain)


def paint(plan: Scene, index: int) -> tuple[UInt8[np.ndarray, "128 128 3"], Labels, Labels]:
    """Paint one frame; it depends on no other.

    Args:
        plan: From `scene`.
        index: Number of the frame.

    Returns:
        image: RGB, 0 to 255.
        labels: Ids, boxes and classes of the shapes of which enough is to be seen.
        ignored: Boxes of the other shapes of which something is to be seen, class EXCUSED.
    """
    image, table, owner = _painted(plan, index)
    true, hidden = _visible(table, owner)
    ids, classes = table[true, :2].astype(np.int64).T
    labels = Labels(ids=ids, boxes=table[true, 3:], classes=classes)
    ignored = Labels(boxes=table[hidden, 3:], classes=np.full(int(hidden.sum()), EXCUSED))
    return _expose(image, plan, index), labels, ignored


def masked(plan: Scene, index: int) -> tuple[Labels, Labels]:
    """Say of one frame what `paint` says, with masks of the visible parts in place of boxes.

    Args:
        plan: From `scene`.
        index: Number of the frame.

    Returns:
        labels: Ids, masks and classes of the shapes of which enough is to be seen.
        ignored: Masks of the other shapes of which something is to be seen, class EXCUSED.
    """
    _, table, owner = _painted(plan, index)
    true, hidden = _visible(table, owner)
    ids, classes = table[true, :2].astype(np.int64).T
    return (
        Labels(ids=ids, masks=_masks(owner, ids), classes=classes),
        Labels(
            masks=_masks(owner, table[hidden, 0].astype(np.int64)),
            classes=np.full(int(hidden.sum()), EXCUSED),
        ),
    )


def _masks(owner: Int[np.ndarray, "128 128"], ids: Int[np.ndarray, " shape"]) -> tuple[Rle, ...]:
    return tuple(masks.encode(owner == identity) for identity in ids.tolist())


def _visible(
    table: Float[np.ndarray, "shape 7"], owner: Int[np.ndarray, "128 128"]
) -> tuple[Bool[np.ndarray, " shape"], Bool[np.ndarray, " shape"]]:
    """Which shapes are in the truth, and which of the others are to be seen."""
    seen = np.bincount(owner.ravel(), minlength=CAST + 1)[table[:, 0].astype(np.int64)]
    share = seen / np.maximum(1, table[:, 2])
    return share >= VISIBLE, (share < VISIBLE) & (seen > 0)


def _painted(
    plan: Scene, index: int
) -> tuple[UInt8[np.ndarray, "128 128 3"], Float[np.ndarray, "shape 7"], Int[np.ndarray, "128 128"]]:
    """The frame without light and grain; a row (identity, kind, area, box) for each shape in it; who is in front."""
    left, top = plan.window[index].astype(np.int64).tolist()
    image = plan.background[top : top + SIZE, left : left + SIZE].copy()
    owner = np.zeros((SIZE, SIZE), dtype=np.int64)
    rows: list[tuple[float, ...]] = []
    for identity, shape in enumerate(plan.shapes, start=1):
        row = _stamp(shape, index, image, owner, identity)
        if row is not None:
            rows.append((identity, shape.kind, *row))
    return image, np.array(rows, dtype=np.float64).reshape(-1, 7), owner


def clip(word: str, length: int, look: Look = SHARP) -> tuple[Clip, Truth]:
    """Make a clip and its truth; it gives no detections.

    Args:
        word: Of the scene, and the clip's name.
        length: Number of frames.
        look: How fast and how noisy it is.
    """
    plan = scene(word, length, look)
    _, labels, ignored = zip(*(paint(plan, index) for index in range(length)), strict=True)
    name = word.rpartition("/")[2]
    return Clip(name, SIZE, SIZE, FPS, length, partial(_frames, plan), VOCABULARY), Truth(labels, ignored)


def _names(root: Path) -> list[str]:
    return list(NAMES)


def _load(root: Path, name: str) -> tuple[Clip, Truth]:
    made, truth = _load_without_detections(root, name)
    return with_detections(made, truth, "oracle+noise"), truth


def _load_without_detections(root: Path, name: str) -> tuple[Clip, Truth]:
    return clip(f"{TASK}/{_known(name)}", LENGTH)


def _load_noisy(root: Path, name: str) -> tuple[Clip, Truth]:
    return clip(f"{TASK}/noisy/{_known(name)}", LENGTH, NOISY)


def _known(name: str) -> str:
    if name not in NAMES:
        raise UnknownNameError("clip of the rendered shapes", name, NAMES)
    return name


def _load_mots(root: Path, name: str) -> tuple[Clip, Truth]:
    made, _ = _load_without_detections(root, name)
    truth = _masked_truth(name)
    return with_detections(made, truth, "oracle+noise"), truth


def _load_sot(root: Path, name: str) -> tuple[Clip, Truth]:
    """Frames in which the target is not in the truth are not scored."""
    made, whole = _load_without_detections(root, name)
    followed = target(whole)
    labels = tuple(
        Labels(ids=one.ids[one.ids == followed], boxes=one.boxes[one.ids == followed]) for one in whole.labels
    )
    scored = tuple(index for index, one in enumerate(labels) if len(one.ids))
    return _prompted(made, labels[0]), Truth(labels, scored=scored)


def _load_vos(root: Path, name: str) -> tuple[Clip, Truth]:
    """A shape that is hidden by more than `VISIBLE` allows has no mask, as if it were out of the frame."""
    made, _ = _load_without_detections(root, name)
    whole = _masked_truth(name).labels
    labels = tuple(_only(one, whole[0].ids) for one in whole)
    return _prompted(made, labels[0]), Truth(labels)


def target(truth: Truth) -> int:
    """Choose the shape to follow: of those in frame 0, the one that is in the truth of most frames."""
    counts = {int(id): sum(id in one.ids for one in truth.labels) for id in truth.labels[0].ids}
    return max(counts, key=lambda id: (counts[id], -id))


def _only(labels: Labels, ids: Int[np.ndarray, " id"]) -> Labels:
    rows = np.flatnonzero(np.isin(labels.ids, ids))
    return Labels(ids=labels.ids[rows], masks=tuple(labels.masks[row] for row in rows))


def _masked_truth(name: str) -> Truth:
    plan = scene(f"{TASK}/{name}", LENGTH)
    labels, ignored = zip(*(masked(plan, index) for index in range(LENGTH)), strict=True)
    return Truth(labels, ignored)


def _prompted(made: Clip, prompt: Labels) -> Clip:
    frames = partial(_with_prompt, made.frames, prompt)
    return replace(made, frames=frames, vocabulary=())


def _with_prompt(frames: Callable[[], Iterator[Frame]], prompt: Labels) -> Iterator[Frame]:
    for frame in frames():
        yield replace(frame, prompt=Labels() if frame.index else prompt)


def _frames(plan: Scene) -> Iterator[Frame]:
    for index in range(len(plan.window)):
        yield Frame(index, paint(plan, index)[0])


def _shape(rng: np.random.Generator, hue: float, length: int, speeds: tuple[float, float]) -> Shape:
    first = colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 1), rng.uniform(0.7, 1))
    second = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 1), rng.choice((0.1, 0.95)))
    way, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.08)
    headings = way + turn * np.arange(length) + np.cumsum(rng.normal(0, 0.1, length))
    steps = rng.uniform(*speeds) * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    places = _fold(rng.uniform(0, SIZE, 2) + np.cumsum(steps, axis=0))
    return Shape(
        kind=int(rng.integers(len(VOCABULARY))),
        colours=np.rint(np.array([first, second]) * 255).astype(np.uint8),
        pattern=int(rng.integers(3)),
        waves=float(rng.uniform(1.2, 3)),
        radius=float(rng.uniform(*RADII)),
        places=places,
        angles=rng.uniform(0, 2 * np.pi) + rng.uniform(-0.1, 0.1) * np.arange(length),
    )


def _fold(places: Float[np.ndarray, "frame 2"]) -> Float[np.ndarray, "frame 2"]:
    """Turn straight ways round where they are too far beyond the edge."""
    side = SIZE + 2 * BEYOND
    way = np.mod(places + BEYOND, 2 * side)
    folded: Float[np.ndarray, "frame 2"] = np.minimum(way, 2 * side - way) - BEYOND
    return folded


def _background(rng: np.random.Generator) -> UInt8[np.ndarray, "photo photo 3"]:
    if rng.random() < 0.7:
        photo = _photographs()[int(rng.integers(len(BACKGROUNDS)))]
        return photo[:, :: int(rng.choice((-1, 1)))]
    coarse = rng.integers(80, 176, (12, 12, 3))
    return np.kron(coarse, np.ones((16, 16, 1), dtype=np.int64)).astype(np.uint8)


@lru_cache(maxsize=1)
def _photographs() -> tuple[UInt8[np.ndarray, "photo photo 3"], ...]:
    return tuple(np.asarray(cut(window, (_PHOTO, _PHOTO))) for window in BACKGROUNDS)


def _stamp(
    shape: Shape,
    index: int,
    image: UInt8[np.ndarray, "height width 3"],
    owner: np.ndarray,
    identity: int,
) -> tuple[int, float, float, float, float] | None:
    """Paint a shape over what is there; its area in pixels, outside the frame too, and its box inside the frame."""
    x, y = shape.places[index].tolist()
    reach = int(shape.radius * 1.5) + 1
    column, row = int(x), int(y)
    xs = np.arange(column - reach, column + reach + 1)
    ys = np.arange(row - reach, row + reach + 1)
    cosine, sine = np.cos(shape.angles[index]), np.sin(shape.angles[index])
    right, down = ((xs + 0.5 - x) / shape.radius)[None, :], ((ys + 0.5 - y) / shape.radius)[:, None]
    u, v = cosine * right + sine * down, cosine * down - sine * right
    cover = _silhouette(shape.kind, u, v)
    inside = np.ix_((ys >= 0) & (ys < SIZE), (xs >= 0) & (xs < SIZE))
    part = cover[inside]
    across, along = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
    if not len(across):
        return None
    left, top = max(int(xs[0]), 0), max(int(ys[0]), 0)
    there = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
    bands = _bands(shape, u, v)[inside][part]
    image[there][part] = shape.colours[bands]
    owner[there][part] = identity
    return (
        int(cover.sum()),
        float(left + across[0]),
        float(top + along[0]),
        float(left + across[-1] + 1),
        float(top + along[-1] + 1),
    )


def _silhouette(
    kind: int, u: Float[np.ndarray, "row column"], v: Float[np.ndarray, "row column"]
) -> Bool[np.ndarray, "row column"]:
    if kind == 0:
        distance = np.maximum(np.abs(u), np.abs(v)) / 0.89
    elif kind == 1:
        distance = u * u + v * v
    else:
        distance = np.maximum(-v / 0.72, (np.abs(u) * 3**0.5 + v) / 1.44)
    return np.asarray(distance <= 1)


def _bands(
    shape: Shape, u: Float[np.ndarray, "row column"], v: Float[np.ndarray, "row column"]
) -> Int[np.ndarray, "row column"]:
    """0 or 1: which of the two colours each pixel has."""
    rate = shape.waves * np.pi
    if shape.pattern == 2:
        wave = np.sin(rate * np.sqrt(u * u + v * v) + 1)
    else:
        wave = np.sin(rate * u + 0.5) * (np.sin(rate * v + 0.5) if shape.pattern else 1 + 0 * v)
    return np.asarray(wave < 0, dtype=np.int64)


def _expose(
    image: UInt8[np.ndarray, "height width 3"], plan: Scene, index: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Light and sensor: brightness and grain."""
    raw = draws("grain", plan.word, index).bit_generator.random_raw(image.size // 8)
    grain = np.asarray(raw, dtype="<u8").view(np.int8).reshape(image.shape).astype(np.float32)
    pixels = image.astype(np.float32) * np.float32(plan.light[index]) + grain * np.float32(plan.grain)
    exposed: UInt8[np.ndarray, "height width 3"] = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return exposed
