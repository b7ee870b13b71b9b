"""Scenes of the `synthetic` benchmark as numbers: who is where in every frame, how the camera and the light move.

No pixel is touched here (`synthetic_paint` does that). Everything follows from words that seed the generator.
Positions are in pixels; the world's origin is the middle of the photograph that serves as the background.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from unibench.datasets.synthetic.figure import HEIGHT_TO_WIDTH, Part, limbs, walk_cycle
from unibench.datasets.synthetic.levels import Difficulty
from unibench.datasets.synthetic.photos import (
    BACKGROUNDS,
    FABRICS,
    FACE,
    OBJECTS,
    POST,
    TROUSERS,
    Window,
    alike,
    beside,
    tinted,
)

WIDTH, HEIGHT, FPS = 256, 192, 10.0
PLANNED = 16
"""Frames that are planned of every scene: a shorter clip is the beginning of a longer one."""
_COLOURS = 70, 140
"""Range of the levels of red, green and blue of a colour that is common to a clip's clothes or objects."""


@dataclass(frozen=True, eq=False)
class Actor:
    """Something that moves over the background: a figure or a rigid object (its outline is then `blob`)."""

    identity: int
    """1, 2, ... for those in the truth; 0 for the others."""
    textures: dict[str, Window]
    depth: Float[np.ndarray, " frame"]
    """Nearer actors have larger values and are painted later."""
    places: Float[np.ndarray, "frame 2 3"]
    """From the actor's own coordinates (unit: its height or radius; y upwards) to the frame's pixels."""
    parts: tuple[Part, ...] = ()
    joints: Float[np.ndarray, "frame joint 2"] | None = None
    """Of figures: pixels of the frame (0.5 is the middle of pixel 0)."""
    blob: Float[np.ndarray, "harmonic 2"] | None = None
    """Of rigid objects: amplitude and phase of the outline's harmonics 2, 3, ..."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A whole clip as numbers."""

    seed: str
    length: int
    """Number of frames; the arrays may be longer."""
    background: Window
    camera: Float[np.ndarray, "frame 2 3"]
    """From the frame's pixels to those of the background, both measured from its middle."""
    actors: tuple[Actor, ...]
    difficulty: Difficulty


def draws(*words: object) -> np.random.Generator:
    """A generator of random numbers that depends on nothing but the words."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


@dataclass(frozen=True, eq=False)
class _Stage:
    """What the makers of actors have in common."""

    seed: str
    pace: float
    views: Float[np.ndarray, "frame 2 3"]
    difficulty: Difficulty

    def rng(self, *words: object) -> np.random.Generator:
        return draws(self.seed, *words)


def crowd(seed: str, length: int, pace: float, difficulty: Difficulty) -> Scene:
    """People who cross each other's ways, leave and come back.

    Args:
        seed: Words that determine everything random.
        length: Number of frames, at most `PLANNED`.
        pace: Multiplies the difficulty's speed.
        difficulty: The knobs.
    """
    stage = _stage(seed, pace, difficulty)
    clothes = _wardrobe(stage, difficulty.people)
    starts = stage.rng("starts").permutation(np.linspace(-92, 92, difficulty.people))
    feet = np.linspace(20, 76, difficulty.people)
    actors = [
        _figure(stage, number + 1, clothes[number], (starts[number], feet[number]), 78 + 0.5 * feet[number])
        for number in range(difficulty.people)
    ]
    return _scene(stage, length, actors)


def objects(seed: str, length: int, pace: float, difficulty: Difficulty, targets: int, figures: int) -> Scene:
    """Rigid objects cut from photographs, and figures, among look-alikes; the targets stay in view, others may not.

    Args:
        seed: Words that determine everything random.
        length: Number of frames, at most `PLANNED`.
        pace: Multiplies the difficulty's speed.
        difficulty: The knobs.
        targets: Number of rigid objects in the truth.
        figures: Number of figures in the truth.
    """
    calm = replace(difficulty, leaves=-0.9)
    stage = _stage(seed, pace, calm)
    order = stage.rng("objects").permutation(len(OBJECTS))
    windows = [OBJECTS[place] for place in order[:targets]]
    likeness, rng = difficulty.likeness, stage.rng("likeness")
    for number in range(difficulty.distractors):
        model = windows[number % targets]
        other = OBJECTS[order[targets + number]]
        windows.append(beside(model, 1 - likeness, rng) if likeness else other)
    common = stage.rng("colour").uniform(*_COLOURS, 3)
    windows = [alike(window, common, difficulty.alike) for window in windows]
    count = len(windows) + figures
    starts = stage.rng("starts").permutation(np.linspace(-96, 96, count))
    actors = [
        _object(stage, number + 1 if number < targets else 0, number, window, starts[number])
        for number, window in enumerate(windows)
    ]
    clothes = _wardrobe(stage, figures)
    for number in range(figures):
        start = (starts[len(windows) + number], 60.0)
        actors.append(_figure(stage, targets + number + 1, clothes[number], start, 100.0))
    return _scene(stage, length, actors)


def solo(seed: str, length: int, pace: float, difficulty: Difficulty) -> Scene:
    """One person close to the camera, always whole in view, with passers-by behind.

    Args:
        seed: Words that determine everything random.
        length: Number of frames, at most `PLANNED`.
        pace: Multiplies the difficulty's speed.
        difficulty: The knobs.
    """
    stage = _stage(seed, pace, replace(difficulty, leaves=-1.4, pan=difficulty.pan / 2, posts=0))
    clothes = _wardrobe(stage, 1 + difficulty.distractors)
    actors = [_figure(stage, 1, clothes[0], (stage.rng("start").uniform(-32, 32), 64.0), 130.0)]
    for number in range(difficulty.distractors):
        start = (stage.rng("start", number).uniform(-88, 88), 26.0 + 7 * number)
        actors.append(_figure(stage, 0, clothes[number + 1], start, 78.0))
    return _scene(stage, length, actors)


def _stage(seed: str, pace: float, difficulty: Difficulty) -> _Stage:
    """The camera's way: from the world to the frame's pixels."""
    rng, time = draws(seed, "camera"), np.arange(PLANNED)
    turn = difficulty.rhythm * time
    start = rng.uniform(0, 2 * np.pi, 4)
    shake = rng.uniform(-0.1, 0.1, (2, PLANNED)) * difficulty.pan
    x = difficulty.pan * 0.9 * np.sin(turn + start[0]) + shake[0]
    y = difficulty.pan * 0.3 * np.sin(0.7 * turn + start[1]) + shake[1]
    scale = 1 + difficulty.zoom * np.sin(0.8 * turn + start[2])
    views = _similarity(scale, difficulty.roll * np.sin(0.6 * turn + start[3]))
    shift = np.einsum("fij,fj->fi", views, np.stack([x, y], axis=-1))
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    return _Stage(seed, pace, np.concatenate([views, (middle - shift)[..., None]], axis=-1), difficulty)


def _scene(stage: _Stage, length: int, actors: Sequence[Actor]) -> Scene:
    rng = stage.rng("background")
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    posts = [_post(stage, number) for number in range(stage.difficulty.posts)]
    linear = np.linalg.inv(stage.views[:, :, :2])
    back = -np.einsum("fij,fj->fi", linear, stage.views[:, :, 2])
    camera = _snap(np.concatenate([linear, back[..., None]], axis=-1), 2**16)
    return Scene(stage.seed, length, background, camera, (*actors, *posts), stage.difficulty)


def _wardrobe(stage: _Stage, people: int) -> list[dict[str, Window]]:
    """Clothes for each: people share as few kinds of fabric as the difficulty says, but no two the same piece.

    All shirts are moved towards one colour, and all trousers towards another.
    """
    rng, kinds = stage.rng("wardrobe"), stage.difficulty.fabrics
    shirts, trousers = rng.permutation(len(FABRICS)), rng.permutation(len(TROUSERS))
    common, share = stage.rng("colours").uniform(*_COLOURS, (2, 3)), stage.difficulty.alike
    clothes = []
    for number in range(people):
        pieces = FABRICS[shirts[number % kinds]]
        shirt = alike(pieces[(number // kinds) % len(pieces)], common[0], share)
        legs = alike(TROUSERS[trousers[number % kinds]], common[1], share)
        dye = 1 + stage.difficulty.tint / 2 * rng.uniform(-1, 1, (3, 3))
        clothes.append(
            {"body": tinted(shirt, dye[0]), "legs": tinted(legs, dye[1]), "head": tinted(FACE, dye[2])}
        )
    return clothes


def _figure(
    stage: _Stage, identity: int, clothes: dict[str, Window], start: tuple[float, float], height: float
) -> Actor:
    knobs, rng = stage.difficulty, stage.rng("figure", identity, *start)
    width = HEIGHT_TO_WIDTH * height
    x = _path(rng, stage, start[0], width, WIDTH / 2 + width * knobs.leaves * rng.uniform(0.6, 1.0))
    y = start[1] + 4 * np.sin(0.2 * np.arange(PLANNED) + rng.uniform(0, 6))
    step = np.gradient(x)
    facing = np.pi / 2 - 0.95 * np.tanh(2 * step / (knobs.speed * stage.pace * width))
    phase = rng.uniform(0, 6) + np.cumsum(np.abs(step)) * 2 * np.pi / (0.9 * height)
    pose = walk_cycle(phase, facing, np.full(PLANNED, rng.uniform(0.45, 0.6)))
    size = height * (1 + 0.5 * knobs.warp * np.sin(0.15 * np.arange(PLANNED) + rng.uniform(0, 6)))
    places = _seen(stage, np.stack([x, y], axis=-1), size[:, None, None] * np.diag([1.0, -1.0]))
    joints = np.einsum("fij,fkj->fki", places[:, :, :2], pose[..., :2]) + places[:, None, :, 2]
    return Actor(identity, clothes, y, places, parts=limbs(pose), joints=_snap(joints))


def _object(stage: _Stage, identity: int, number: int, window: Window, start: float) -> Actor:
    knobs = stage.difficulty if identity else replace(stage.difficulty, leaves=-0.2)
    rng, time = stage.rng("object", number), np.arange(PLANNED)
    radius = rng.uniform(22, 27)
    x = _path(rng, stage, start, 2 * radius, WIDTH / 2 - knobs.pan + 2 * radius * knobs.leaves)
    y = _path(
        rng, stage, rng.uniform(-36, 36), radius, HEIGHT / 2 - 0.3 * knobs.pan + 2 * radius * knobs.leaves
    )
    wave = np.sin(rng.uniform(0.1, 0.25, (4, 1)) * time + rng.uniform(0, 6, (4, 1)))
    spin = _similarity(np.ones(PLANNED), 2.0 * knobs.warp * wave[0])
    stretch = np.zeros((PLANNED, 2, 2))
    stretch[:, 0, 0] = 1 + knobs.warp * wave[1]
    stretch[:, 1, 1] = 1 + knobs.warp * wave[2]
    stretch[:, 0, 1] = 0.7 * knobs.warp * wave[3]
    places = _seen(stage, np.stack([x, y], axis=-1), radius * spin @ stretch @ np.diag([1.0, -1.0]))
    blob = np.stack([rng.uniform(0.02, 0.09, 4), rng.uniform(0, 6, 4)], axis=-1)
    return Actor(identity, {"whole": window}, np.full(PLANNED, rng.uniform(0, 70)), places, blob=blob)


def _post(stage: _Stage, number: int) -> Actor:
    x = stage.rng("post", number).uniform(-40, 40) + 88 * (number - (stage.difficulty.posts - 1) / 2)
    ends = np.tile(np.array([[x, 210.0], [x, -210.0]]), (PLANNED, 1, 1))
    part = Part("whole", ends, np.full((PLANNED, 2), 7.0), np.zeros(PLANNED))
    places = _seen(stage, np.zeros((PLANNED, 2)), np.tile(np.diag([1.0, -1.0]), (PLANNED, 1, 1)))
    return Actor(0, {"whole": POST}, np.full(PLANNED, 1000.0), places, parts=(part,))


def _path(
    rng: np.random.Generator, stage: _Stage, start: float, width: float, reach: float
) -> Float[np.ndarray, " frame"]:
    """To and fro along one axis at an unsteady speed, turning at +-reach and, at times, in between."""
    knobs = stage.difficulty
    place, way = float(np.clip(start, -reach, reach)), rng.choice((-1, 1))
    places = []
    for change, turn in rng.random((PLANNED, 2)):
        places.append(place)
        way = -way if turn < knobs.turns else way
        place += way * width * knobs.speed * stage.pace * (1 + knobs.unsteady * (2 * change - 1))
        if abs(place) > reach:
            way = -np.sign(place)
            place = -way * (2 * reach - abs(place))
    return np.array(places)


def _seen(
    stage: _Stage, origin: Float[np.ndarray, "frame 2"], axes: Float[np.ndarray, "frame 2 2"]
) -> Float[np.ndarray, "frame 2 3"]:
    """The camera's view of an actor whose axes stand at `origin` in the world."""
    linear, shift = stage.views[:, :, :2], stage.views[:, :, 2]
    there = np.einsum("fij,fj->fi", linear, origin) + shift
    return _snap(np.concatenate([linear @ axes, there[..., None]], axis=-1))


def _similarity(
    scale: Float[np.ndarray, " frame"], angle: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "frame 2 2"]:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=1)


def _snap(values: np.ndarray, steps: int = 1024) -> np.ndarray:
    """Round to fractions of a pixel, so that another platform's last bit of a sine changes no clip."""
    return np.round(values * steps) / steps
